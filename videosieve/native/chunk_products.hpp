// Products of a panel and a chunk by tiles: scores from keys, output from values.
#pragma once

#include "chunks.hpp"
#include "products.hpp"

namespace {

// Sums of products [keys, width] as they come; up to spare_rows past the last key are written too.
template <int Vectors>
inline void multiply_chunk(const Chunk& chunk, const float* q, int head_dim, float* sums) {
    for (int i = 0; i < chunk.k.count; ++i) {
        const Piece& piece = chunk.k.at[i];
        const Terms terms{piece.at, chunk.k.stride, q, 1, 0, 0, row_operands<Simd>(head_dim)};
        multiply_rows<typename Simd::Tiles, Vectors>(terms, piece.count, sums);
        sums += piece.count * Vectors * Simd::lanes;
    }
}

// They become scores in place; `largest` is raised to the largest of each query.
template <int Vectors, bool Biased>
inline void score_sums(const Chunk& chunk, float* sums, Simd::Vector* largest, Prefetch& prefetch, const float* bias) {
    const Simd::Vector unit = Simd::set(chunk.factor);
    for (int64_t key = 0; key < chunk.keys; ++key) {
        if (key % 8 == 0) prefetch.follow(8);
        for (int j = 0; j < Vectors; ++j) {
            float* const at = sums + (key * Vectors + j) * Simd::lanes;
            Simd::Vector score = scored(Simd::load(at), unit);
            if constexpr (Biased) score = Simd::add(score, Simd::set(bias[key]));
            Simd::store(at, score);
            largest[j] = Simd::largest(largest[j], score);
        }
    }
}

// Pairs of weights that a last row of tiles has no keys for.
template <int Vectors>
inline void clear_rest(int64_t keys, float* weights) {
    constexpr int width = Vectors * Simd::lanes;
    const int64_t filled = (keys + 1) / 2;
    memset(weights + filled * width, 0, sizeof(float) * (whole_sides(filled) - filled) * width);
}

// Whether earlier weights stay what they are.
template <int Vectors>
inline bool all_ones(const Simd::Vector* shrink) {
    float lanes[Vectors * Simd::lanes];
    for (int j = 0; j < Vectors; ++j) Simd::store(lanes + j * Simd::lanes, shrink[j]);
    bool ones = true;
    for (const float lane : lanes) ones &= lane == 1.0f;
    return ones;
}

// Two rows of tiles of the output, or one, from `first` on.
template <int Rows, int Vectors>
inline void add_rows_of_values(const Chunk& chunk, const float* weights, int64_t first, float* output) {
    constexpr int width = Vectors * Simd::lanes;
    using Sums = TileSums<typename Simd::Tiles, Rows, Vectors>;
    Sums::load(output + first * width, width);
    for (int i = 0; i < chunk.v.count; ++i) {
        const Piece& piece = chunk.v.at[i];
        for (int64_t key = 0; key < piece.count; key += tile_keys, weights += tile_side * width)
            Sums::add(piece.at + key / 2 * chunk.v.stride + first * tile_side, tile_side, weights, width);
    }
    Sums::store(output + first * width, width);
}

// Output [row_values(head_dim), width] · shrink + values · weights.
template <int Vectors>
inline void add_turned(const Chunk& chunk, const float* weights, int head_dim, const Simd::Vector* shrink,
                       float* output) {
    const int64_t rows = row_values<Simd>(head_dim);
    if (!all_ones<Vectors>(shrink))
        for (int64_t row = 0; row < rows; ++row)
            for (int j = 0; j < Vectors; ++j) {
                float* const at = output + (row * Vectors + j) * Simd::lanes;
                Simd::store(at, Simd::multiply(Simd::load(at), shrink[j]));
            }
    int64_t first = 0;
    for (; first + 2 * tile_side <= rows; first += 2 * tile_side)
        add_rows_of_values<2, Vectors>(chunk, weights, first, output);
    if (first < rows) add_rows_of_values<1, Vectors>(chunk, weights, first, output);
}

}  // namespace
