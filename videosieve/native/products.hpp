// Products by tiles: what tile.hpp does by registers, for sets whose Simd::Tiles are tile instructions.
//
// The same operands in the same places: rows of keys against a panel of queries make scores [keys, width], rows of values
// against a panel of weights make output [head_dim, width]. Tiles 0 to 3 hold sums, two rows of tiles with one or two
// side by side; 4 and 5 hold rows of A, 6 and 7 the panel.
#pragma once

#include "rows.hpp"

namespace {

// `Rows` × `Vectors` tiles of sums. Strides are floats from row to row.
template <class T, int Rows, int Vectors>
struct TileSums {
    static inline __attribute__((always_inline)) void clear() {
        T::template zero<0>();
        if constexpr (Vectors == 2) T::template zero<1>();
        if constexpr (Rows == 2) T::template zero<2>();
        if constexpr (Rows == 2 && Vectors == 2) T::template zero<3>();
    }
    static inline __attribute__((always_inline)) void load(const float* from, int64_t stride) {
        const float* const below = from + tile_side * stride;
        T::template load<0>(from, 4 * stride);
        if constexpr (Vectors == 2) T::template load<1>(from + tile_side, 4 * stride);
        if constexpr (Rows == 2) T::template load<2>(below, 4 * stride);
        if constexpr (Rows == 2 && Vectors == 2) T::template load<3>(below + tile_side, 4 * stride);
    }
    static inline __attribute__((always_inline)) void store(float* to, int64_t stride) {
        float* const below = to + tile_side * stride;
        T::template store<0>(to, 4 * stride);
        if constexpr (Vectors == 2) T::template store<1>(to + tile_side, 4 * stride);
        if constexpr (Rows == 2) T::template store<2>(below, 4 * stride);
        if constexpr (Rows == 2 && Vectors == 2) T::template store<3>(below + tile_side, 4 * stride);
    }
    // Adds A[16 Rows, 16] · B[16, 16 Vectors], counted in pairs.
    static inline __attribute__((always_inline)) void add(const float* a, int64_t a_stride, const float* b,
                                                          int64_t b_stride) {
        T::template load<4>(a, 4 * a_stride);
        T::template load<6>(b, 4 * b_stride);
        T::template multiply<0, 4, 6>();
        if constexpr (Vectors == 2) {
            T::template load<7>(b + tile_side, 4 * b_stride);
            T::template multiply<1, 4, 7>();
        }
        if constexpr (Rows == 2) {
            T::template load<5>(a + tile_side * a_stride, 4 * a_stride);
            T::template multiply<2, 5, 6>();
            if constexpr (Vectors == 2) T::template multiply<3, 5, 7>();
        }
    }
};

// Products that follow one another under one sum: A `a_stride`, B a panel as wide as the scores.
struct Terms {
    const float* a;
    int64_t a_stride;
    const float* b;
    int64_t count;      // of A and of B
    int64_t a_step;     // floats from one to the next
    int64_t b_step;
    int64_t operands;   // of a row of A, whole tiles
};

template <class T, int Rows, int Vectors>
inline void multiply_row_of_tiles(const Terms& terms, int64_t first, float* scores) {
    constexpr int width = Vectors * tile_side;
    using Sums = TileSums<T, Rows, Vectors>;
    Sums::clear();
    for (int64_t term = 0; term < terms.count; ++term) {
        const float* const a = terms.a + first * terms.a_stride + term * terms.a_step;
        const float* const b = terms.b + term * terms.b_step;
        for (int64_t at = 0; at < terms.operands; at += tile_side)
            Sums::add(a + at, terms.a_stride, b + at * width, width);
    }
    Sums::store(scores + first * width, width);
}

// Sums [rows, width] of products; up to fifteen rows of A past the last are read, and as many of the sums are written.
template <class T, int Vectors>
inline void multiply_rows(const Terms& terms, int64_t rows, float* sums) {
    int64_t first = 0;
    for (; first + tile_side < rows; first += 2 * tile_side) multiply_row_of_tiles<T, 2, Vectors>(terms, first, sums);
    if (first < rows) multiply_row_of_tiles<T, 1, Vectors>(terms, first, sums);
}

}  // namespace
