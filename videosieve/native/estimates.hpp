// What methods estimate blocks from: softmax mass of blocks.
#pragma once

#include "chunk_products.hpp"

namespace {

using videosieve::MassTask;

// Adds exp2(score − offset) of one panel to a vector per key.
template <int Vectors>
struct MassTiles {
    const float* k;
    int64_t k_stride;
    const float* q;
    int64_t steps;
    Simd::Vector factor;  // as in a chunk
    const float* offset;
    float* sums;  // [keys, lanes]
    Prefetch& prefetch;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        prefetch.follow(Rows);
        auto tile = zero_tile<Simd, Rows, Vectors>();
        multiply_tile<Simd, Rows, Vectors, false>(tile, k + first * k_stride, k_stride, q, steps);
        for (int i = 0; i < Rows; ++i) {
            float* at = sums + (first + i) * Simd::lanes;
            Simd::Vector sum = Simd::load(at);
            for (int j = 0; j < Vectors; ++j) {
                const Simd::Vector score = scored(tile.at[i][j], factor);
                const Simd::Vector shifted = Simd::subtract(score, Simd::load(offset + j * Simd::lanes));
                sum = Simd::add(sum, Simd::exp2(shifted));
            }
            Simd::store(at, sum);
        }
    }
};

size_t mass_scratch(int head_dim) {
    const size_t d = head_dim;
    return most_panels * (panel_rows<Simd>(head_dim) + 1) * full_width + chunk_keys * Simd::lanes +
           (tiled<Simd> ? score_floats : 0) + Chunks::space(head_dim) + 4 * d + Space::slack;
}

// Memory of one task.
struct MassTaskSpace {
    float* sums;    // [keys, lanes] of a chunk
    float* scores;  // [keys, width], for products by tiles
};

template <int Vectors>
void add_mass(const Chunk& chunk, const float* q, int head_dim, const float* offset, const MassTaskSpace& at,
              Prefetch& prefetch) {
    float* sums = at.sums;
    const Simd::Vector factor = Simd::set(chunk.factor);
    if constexpr (tiled<Simd>) {
        multiply_chunk<Vectors>(chunk, q, head_dim, at.scores);
        const float* score = at.scores;
        for (int64_t key = 0; key < chunk.keys; ++key, sums += Simd::lanes) {
            if (key % 8 == 0) prefetch.follow(8);
            Simd::Vector sum = Simd::load(sums);
            for (int j = 0; j < Vectors; ++j, score += Simd::lanes)
                sum = Simd::add(sum, Simd::exp2(Simd::subtract(scored(Simd::load(score), factor),
                                                               Simd::load(offset + j * Simd::lanes))));
            Simd::store(sums, sum);
        }
    } else {
        for (int i = 0; i < chunk.k.count; ++i) {
            const Piece& piece = chunk.k.at[i];
            for_row_tiles<Simd::rows>(piece.count, MassTiles<Vectors>{piece.at, chunk.k.stride, q, operands<Simd>(head_dim),
                                                                      factor, offset, sums, prefetch});
            sums += piece.count * Simd::lanes;
        }
    }
}

// Sums [keys, lanes] of the keys from first_key on go to the blocks that hold them.
void sum_blocks(const float* sums, int64_t first_key, int64_t keys, int64_t side, float* mass) {
    for (int64_t key = 0; key < keys;) {
        const int64_t block = (first_key + key) / side, end = (block + 1) * side - first_key;
        Simd::Vector total = Simd::zero();
        for (; key < keys && key < end; ++key) total = Simd::add(total, Simd::load(sums + key * Simd::lanes));
        mass[block] += sum_lanes(total);
    }
}

void mass(const MassTask& task, float* scratch) {
    const Numbers& numbers = task.numbers;
    const int head_dim = numbers.head_dim;
    const int64_t queries = task.queries.count;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    const MassTaskSpace at{space.take(static_cast<size_t>(chunk_keys) * Simd::lanes), space.take(tiled<Simd> ? score_floats : 0)};
    float *q[most_panels], *offset[most_panels];
    int panels = 0;
    for (int64_t first = 0; first < queries; first += full_width, ++panels) {
        q[panels] = space.take(panel_rows<Simd>(head_dim) * full_width);
        offset[panels] = space.take(full_width);
        load_panel(task.queries, first, numbers.element, head_dim, query_factor(numbers, log2_of_e), q[panels],
                   panel_width(queries - first), rows);
        for (int i = 0; i < full_width; ++i)  // lanes past the last query weigh nothing
            offset[panels][i] = first + i < queries ? task.lse[first + i] * log2_of_e : INFINITY;
    }
    Chunks chunks(task.keys, numbers, space.take(Chunks::space(head_dim)));
    int64_t first_key = 0;
    for_chunks(chunks, panels, [&](const Chunk& chunk, Prefetch& prefetch) {
        memset(at.sums, 0, sizeof(float) * chunk.keys * Simd::lanes);
        for (int i = 0; i < panels; ++i) {
            if (panel_width(queries - i * full_width) == full_width)
                add_mass<Simd::vectors>(chunk, q[i], head_dim, offset[i], at, prefetch);
            else
                add_mass<1>(chunk, q[i], head_dim, offset[i], at, prefetch);
        }
        sum_blocks(at.sums, first_key, chunk.keys, task.side, task.mass);
        first_key += chunk.keys;
    });
}

}  // namespace
