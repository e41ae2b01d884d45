// The register tile: `rows` scalars of A times a panel of B that is `Vectors` vectors wide, summed over `steps`.
//
// Queries lie along the lanes. For scores, A is keys and B the transposed queries, summed over head_dim; for the output,
// A is values and B the weights, summed over keys. Keys and values are thus read where they are, a scalar at a time,
// and no reduction ever crosses lanes. Where products are of pairs of bf16 (`S::pairs`), a lane holds two of them, a step
// is two numbers long, and scalars, panels and strides are counted in pairs.
#pragma once

#include "elements.hpp"

namespace {

template <class S, int Rows, int Vectors>
struct Tile {
    typename S::Vector at[Rows][Vectors];
};

// A is indexed a[row * row_stride + step * step_stride]; one of the two strides is 1 and known when compiled.
template <class S, int Rows, int Vectors, bool RowsAdjacent>
inline __attribute__((always_inline)) void multiply_tile(
    Tile<S, Rows, Vectors>& tile, const float* a, int64_t stride, const float* b, int64_t steps) {
    const int64_t row_stride = RowsAdjacent ? 1 : stride, step_stride = RowsAdjacent ? stride : 1;
#pragma GCC unroll 4
    for (int64_t step = 0; step < steps; ++step) {
        typename S::Vector panel[Vectors];
        for (int j = 0; j < Vectors; ++j) panel[j] = S::load(b + (step * Vectors + j) * S::lanes);
        for (int i = 0; i < Rows; ++i) {
            const typename S::Vector scalar = S::set(a[i * row_stride + step * step_stride]);
            for (int j = 0; j < Vectors; ++j)
                tile.at[i][j] = S::dot(scalar, panel[j], tile.at[i][j]);
        }
    }
}

template <class S, int Rows, int Vectors>
inline __attribute__((always_inline)) Tile<S, Rows, Vectors> zero_tile() {
    Tile<S, Rows, Vectors> tile;
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < Vectors; ++j) tile.at[i][j] = S::zero();
    return tile;
}

// Calls work<R>(first) for the rows from `first` to `count`, all with R = Rows but the last, which may be smaller.
template <int Rows, class Work>
inline __attribute__((always_inline)) void for_row_tiles(int64_t count, const Work& work, int64_t first = 0) {
    for (; first + Rows <= count; first += Rows) work.template operator()<Rows>(first);
    if constexpr (Rows > 1)
        if (first < count) for_row_tiles<Rows / 2>(count, work, first);
}

}  // namespace
