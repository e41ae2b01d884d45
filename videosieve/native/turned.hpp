// Values as tiles multiply them by weights: head_dim down, keys along. Blocks of 32 keys follow one another, each
// [row_values(head_dim), 16 pairs of keys]; what a last block or a row has no value for is zero.
#pragma once

#include "rows.hpp"

namespace {

// Turns rows of pairs, two keys each: join(key, row) writes those of `key` and the next one to a row of head_dim operands.
template <class S, class Join>
inline void turn_values(const Join& join, int64_t keys, int head_dim, float* turned) {
    alignas(64) float rows[tile_side * videosieve::most_head_dim];
    const int64_t values = row_values<S>(head_dim);
    for (int64_t first = 0; first < keys; first += tile_keys, turned += values * tile_side) {
        for (int64_t pair = 0; pair < tile_side; ++pair) {
            float* const row = rows + pair * values;
            const int64_t key = first + 2 * pair;
            if (key < keys) join(key, row);
            const int64_t filled = key < keys ? head_dim : 0;
            memset(row + filled, 0, sizeof(float) * (values - filled));
        }
        for (int64_t value = 0; value < values; value += tile_side)
            S::transpose_square(rows + value, values, turned + value * tile_side);
    }
}

// Values of spans, wherever they begin and end, as blocks of their own, out of the blocks of all places.
template <class S>
inline void splice_spans(const float* blocks, const videosieve::Run* spans, int count, int64_t values, float* turned) {
    const int64_t block = values * tile_side;
    int64_t filled = 0;
    for (int i = 0; i < count; ++i)
        for (int64_t done = 0, taken; done < spans[i].count; done += taken, filled += taken) {
            const int64_t lane = filled % tile_keys, left = spans[i].count - done, room = tile_keys - lane;
            taken = left < room ? left : room;
            const int64_t place = spans[i].start + done, origin = place - lane + tile_keys;  // one block on: never negative
            const int64_t low = origin / tile_keys - 1, first = place / tile_keys, last = (place + taken - 1) / tile_keys;
            const auto numbers = [&](int64_t number) {
                return reinterpret_cast<const uint16_t*>(blocks + number * block);
            };
            const uint32_t lanes = (taken == tile_keys ? ~uint32_t{0} : (uint32_t{1} << taken) - 1) << lane;
            S::splice(numbers(low < first ? first : low), numbers(low < last ? low + 1 : last),
                      static_cast<int>(origin % tile_keys), lanes, lane == 0, values,
                      reinterpret_cast<uint16_t*>(turned + filled / tile_keys * block));
        }
}

}  // namespace
