// What methods estimate blocks from: softmax mass of blocks, and scores along antidiagonals.
#pragma once

#include "chunks.hpp"

namespace {

using videosieve::AntidiagonalTask;
using videosieve::MassTask;

// Adds exp2(score − offset) of one panel to a vector per key.
template <int Vectors>
struct MassTiles {
    const float* k;
    int64_t k_stride;
    const float* q;
    int head_dim;
    const float* offset;
    float* sums;  // [keys, lanes]
    Prefetch& prefetch;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        prefetch.follow(Rows);
        auto tile = zero_tile<Simd, Rows, Vectors>();
        multiply_tile<Simd, Rows, Vectors, false>(tile, k + first * k_stride, k_stride, q, head_dim);
        for (int i = 0; i < Rows; ++i) {
            float* at = sums + (first + i) * Simd::lanes;
            Simd::Vector sum = Simd::load(at);
            for (int j = 0; j < Vectors; ++j) {
                const Simd::Vector shifted = Simd::subtract(tile.at[i][j], Simd::load(offset + j * Simd::lanes));
                sum = Simd::add(sum, Simd::exp2(shifted));
            }
            Simd::store(at, sum);
        }
    }
};

size_t mass_scratch(int head_dim) {
    const size_t d = head_dim;
    return most_panels * (d + 1) * full_width + chunk_keys * Simd::lanes + Chunks::space(head_dim) + 4 * d +
           Space::slack;
}

template <int Vectors>
void add_mass(const Chunk& chunk, const float* q, int head_dim, const float* offset, float* sums, Prefetch& prefetch) {
    for (int i = 0; i < chunk.piece_count; ++i) {
        const Piece& piece = chunk.pieces[i];
        for_row_tiles<Simd::rows>(
            piece.count, MassTiles<Vectors>{piece.k, chunk.k_stride, q, head_dim, offset, sums, prefetch});
        sums += piece.count * Simd::lanes;
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
    float* sums = space.take(static_cast<size_t>(chunk_keys) * Simd::lanes);
    float *q[most_panels], *offset[most_panels];
    int panels = 0;
    for (int64_t first = 0; first < queries; first += full_width, ++panels) {
        q[panels] = space.take(static_cast<size_t>(head_dim) * full_width);
        offset[panels] = space.take(full_width);
        load_panel(task.queries, first, numbers.element, head_dim, numbers.scale * log2_of_e, q[panels],
                   panel_width(queries - first), rows);
        for (int i = 0; i < full_width; ++i)  // lanes past the last query weigh nothing
            offset[panels][i] = first + i < queries ? task.lse[first + i] * log2_of_e : INFINITY;
    }
    Chunks chunks(task.keys, numbers, space.take(Chunks::space(head_dim)));
    int64_t first_key = 0;
    for_chunks(chunks, head_dim, panels, [&](const Chunk& chunk, Prefetch& prefetch) {
        memset(sums, 0, sizeof(float) * chunk.keys * Simd::lanes);
        for (int i = 0; i < panels; ++i) {
            if (panel_width(queries - i * full_width) == full_width)
                add_mass<Simd::vectors>(chunk, q[i], head_dim, offset[i], sums, prefetch);
            else
                add_mass<1>(chunk, q[i], head_dim, offset[i], sums, prefetch);
        }
        sum_blocks(sums, first_key, chunk.keys, task.side, task.mass);
        first_key += chunk.keys;
    });
}

constexpr int key_cells = 32;     // whose scores are held at a time
constexpr int sum_length = 512;  // products summed at a time, so that rounding does not pile up along a cell

// Scores [cells, full_width] of key cells against one panel of query cells.
struct CellTiles {
    const float* k;
    int64_t k_stride;  // from token to token
    const float* q;    // [stride, head_dim, full_width]
    int stride;
    int head_dim;
    float* scores;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        float* const at = scores + first * full_width;
        const int group = head_dim < sum_length ? sum_length / head_dim : 1;
        for (int s = 0; s < stride; s += group) {
            auto tile = zero_tile<Simd, Rows, Simd::vectors>();
            for (int t = s; t < s + group && t < stride; ++t)
                multiply_tile<Simd, Rows, Simd::vectors, false>(tile, k + (first * stride + t) * k_stride,
                                                                stride * k_stride,
                                                                q + static_cast<int64_t>(t) * head_dim * full_width,
                                                                head_dim);
            for (int i = 0; i < Rows; ++i)
                for (int j = 0; j < Simd::vectors; ++j) {
                    float* score = at + i * full_width + j * Simd::lanes;
                    Simd::store(score, s ? Simd::add(Simd::load(score), tile.at[i][j]) : tile.at[i][j]);
                }
        }
    }
};

size_t antidiagonal_scratch(int head_dim, int stride, int cells) {
    const size_t d = head_dim, panels = (cells + full_width - 1) / full_width;
    return panels * full_width * stride * d + key_cells * (full_width + stride * d) + 4 * d + 4 * key_cells +
           Space::slack + 64 * panels;
}

// Query stride − 1 − s of every cell, for the panel of cells from `first` on.
void load_cells(const AntidiagonalTask& task, int first, float* panel, const FourRows& rows) {
    const Numbers& numbers = task.numbers;
    for (int s = 0; s < task.stride; ++s) {
        const int64_t offset = task.stride - 1 - s, left = task.queries.count - offset;
        const int64_t count = left > 0 ? (left + task.stride - 1) / task.stride : 0;
        const QueryRows queries{element_at(task.queries.data, numbers.element, offset * task.queries.stride),
                                task.queries.stride * task.stride, count < task.cells ? count : task.cells};
        load_panel(queries, first, numbers.element, numbers.head_dim, numbers.scale,
                   panel + static_cast<int64_t>(s) * numbers.head_dim * full_width, full_width, rows);
    }
}

// Key cells as fp32 with whole cells: where they are, or a copy that ends with zeros.
struct KeyCells {
    const float* k;
    int64_t stride;
};

KeyCells load_key_cells(const AntidiagonalTask& task, int64_t first, int64_t cells, float* copy) {
    const Numbers& numbers = task.numbers;
    const int64_t token = first * task.stride, tokens = cells * task.stride;
    if (numbers.element == Element::float32 && token + tokens <= task.keys.count)
        return {static_cast<const float*>(task.keys.data) + token * task.keys.stride, task.keys.stride};
    for (int64_t i = 0; i < tokens; ++i) {
        float* row = copy + i * numbers.head_dim;
        if (token + i < task.keys.count)
            widen(task.keys.data, numbers.element, (token + i) * task.keys.stride, numbers.head_dim, row);
        else
            memset(row, 0, sizeof(float) * numbers.head_dim);
    }
    return {copy, numbers.head_dim};
}

void antidiagonal(const AntidiagonalTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim, stride = task.stride;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    const FourRows results(space.take(4 * key_cells), key_cells);
    float* scores = space.take(static_cast<size_t>(key_cells) * full_width);
    float* copy = space.take(static_cast<size_t>(key_cells) * stride * head_dim);
    const size_t panel_floats = static_cast<size_t>(stride) * head_dim * full_width;
    const int panels = (task.cells + full_width - 1) / full_width;
    float* q = space.take(panels * panel_floats);
    for (int i = 0; i < panels; ++i) load_cells(task, i * full_width, q + i * panel_floats, rows);
    const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    for (int64_t first = 0; first < task.columns; first += key_cells) {
        const int64_t left = task.columns - first, count = left < key_cells ? left : key_cells;
        const KeyCells keys = load_key_cells(task, first, count, copy);
        for (int i = 0; i < panels; ++i) {
            for_row_tiles<Simd::rows>(
                count, CellTiles{keys.k, keys.stride, q + i * panel_floats, stride, head_dim, scores});
            for (int lane = 0; lane < full_width && i * full_width + lane < task.cells; lane += 4) {
                columns_to_rows(scores + lane, full_width, ones, static_cast<int>(count), results);
                for (int j = 0; j < 4 && i * full_width + lane + j < task.cells; ++j)
                    memcpy(task.scores + (i * full_width + lane + j) * task.columns + first, results.at[j],
                           sizeof(float) * count);
            }
        }
    }
}

}  // namespace
