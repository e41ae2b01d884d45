// Operands of products: fp32 numbers, or pairs of bf16 ones where S::pairs, the first of a pair in the low half of a lane.
// Everything is held as `float`, whose bits a pair is; nothing but loads, stores, broadcasts and S::dot touches pairs.
#pragma once

#include <type_traits>

#include "kernels.hpp"
#include "tile.hpp"

namespace {

// Operands that `numbers` neighbours come to; the last pair of an odd number ends with zero.
template <class S>
constexpr int64_t operands(int64_t numbers) {
    return S::pairs ? (numbers + 1) / 2 : numbers;
}

// Whether products are of tiles: sixteen rows of sixteen pairs.
template <class S>
constexpr bool tiled = !std::is_void<typename S::Tiles>::value;

constexpr int tile_side = 16;
constexpr int tile_keys = 2 * tile_side;  // that a row of weights or of values holds in a tile

constexpr int64_t whole_sides(int64_t count) { return (count + tile_side - 1) / tile_side * tile_side; }

// Operands of a row of keys, as many as a panel of queries has rows: tiles are filled up with zeros.
template <class S>
constexpr int64_t row_operands(int64_t head_dim) {
    return tiled<S> ? whole_sides(operands<S>(head_dim)) : operands<S>(head_dim);
}

// Values of a key and rows of a panel of output, likewise.
template <class S>
constexpr int64_t row_values(int64_t head_dim) {
    return tiled<S> ? whole_sides(head_dim) : head_dim;
}

// Rows that a panel of queries needs room for: fp32 numbers come first, operands take their place.
template <class S>
constexpr int64_t panel_rows(int64_t head_dim) {
    return head_dim > row_operands<S>(head_dim) ? head_dim : row_operands<S>(head_dim);
}

inline float pair_of_bfloats(uint16_t low, uint16_t high) {
    return float_of_bits(static_cast<uint32_t>(high) << 16 | low);
}

// Rows [rows, width] of numbers become [operands, width], in place: each with the one below it.
template <class S>
inline void join_rows(float* x, int64_t rows, int width) {
    if constexpr (S::pairs)
        for (int64_t i = 0; i < rows; i += 2)
            for (int lane = 0; lane < width; lane += S::lanes) {
                const float* at = x + i * width + lane;
                const auto below = i + 1 < rows ? S::load(at + width) : S::zero();
                S::store(x + i / 2 * width + lane, S::pair(S::load(at), below));
            }
}

// The numbers of a row become bf16 where they are not; neighbours are then pairs.
template <class S>
inline void copy_pairs(const void* x, bool wide, int64_t first, int count, float* y) {
    uint16_t* out = reinterpret_cast<uint16_t*>(y);
    int i = 0;
    if (wide) {
        const float* in = static_cast<const float*>(x) + first;
        for (; i + S::lanes <= count; i += S::lanes) S::store_bfloat(out + i, S::load(in + i));
        for (uint16_t one; i < count; ++i) memcpy(out + i, &(one = bfloat_of_float(in[i])), sizeof one);
    } else {
        const uint16_t* in = static_cast<const uint16_t*>(x) + first;
        for (; i + 2 * S::lanes <= count; i += 2 * S::lanes) S::copy(in + i, out + i);
        memcpy(out + i, in + i, sizeof(uint16_t) * (count - i));
    }
    if (count % 2) memset(out + count, 0, sizeof(uint16_t));
}

// Two rows of numbers become one of pairs; where there is no second one, with zeros.
template <class S>
inline void join_two(const void* x, bool wide, int64_t upper, int64_t lower, bool both, int count, float* y) {
    int i = 0;
    if (wide) {
        const float *a = static_cast<const float*>(x) + upper, *b = static_cast<const float*>(x) + lower;
        for (; i + S::lanes <= count; i += S::lanes)
            S::store(y + i, S::pair(S::load(a + i), both ? S::load(b + i) : S::zero()));
        for (; i < count; ++i) y[i] = pair_of_bfloats(bfloat_of_float(a[i]), both ? bfloat_of_float(b[i]) : 0);
        return;
    }
    const uint16_t *a = static_cast<const uint16_t*>(x) + upper, *b = static_cast<const uint16_t*>(x) + lower;
    for (; both && i + S::lanes <= count; i += S::lanes) S::store(y + i, S::pair_bfloats(a + i, b + i));
    for (; i < count; ++i) y[i] = pair_of_bfloats(a[i], both ? b[i] : 0);
}

}  // namespace
