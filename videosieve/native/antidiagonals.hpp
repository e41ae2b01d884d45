// Scores along antidiagonals of cells, and what they say of blocks.
#pragma once

#include "chunk_products.hpp"

namespace {

using videosieve::AntidiagonalMassTask;
using videosieve::AntidiagonalTask;

constexpr int key_cells = 32;     // whose scores are held at a time
constexpr int sum_length = 512;  // products summed at a time, so that rounding does not pile up along a cell

// Scores [cells, full_width] of key cells against one panel of query cells.
struct CellTiles {
    const float* k;
    int64_t k_stride;  // from token to token
    const float* q;    // [stride, panel_rows(head_dim), full_width]
    int stride;
    int head_dim;
    float factor;  // as in `scored`
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
                                                                q + t * panel_rows<Simd>(head_dim) * full_width,
                                                                operands<Simd>(head_dim));
            for (int i = 0; i < Rows; ++i)
                for (int j = 0; j < Simd::vectors; ++j) {
                    float* score = at + i * full_width + j * Simd::lanes;
                    const Simd::Vector sum = scored(tile.at[i][j], Simd::set(factor));
                    Simd::store(score, s ? Simd::add(Simd::load(score), sum) : sum);
                }
        }
    }
};

// Likewise by tiles; `space` holds the sums of a group of tokens.
template <class T>
inline void multiply_cells(const CellTiles& cells, int64_t count, float* space) {
    const int group = cells.head_dim < sum_length ? sum_length / cells.head_dim : 1;
    const int64_t panel = panel_rows<Simd>(cells.head_dim) * full_width;
    const Simd::Vector unit = Simd::set(cells.factor);
    for (int s = 0; s < cells.stride; s += group) {
        const int64_t terms = cells.stride - s < group ? cells.stride - s : group;
        multiply_rows<T, Simd::vectors>(
            {cells.k + s * cells.k_stride, cells.stride * cells.k_stride, cells.q + s * panel, terms, cells.k_stride, panel,
             row_operands<Simd>(cells.head_dim)},
            count, space);
        for (int64_t i = 0; i < count * full_width; i += Simd::lanes) {
            const Simd::Vector sum = scored(Simd::load(space + i), unit);
            Simd::store(cells.scores + i, s ? Simd::add(Simd::load(cells.scores + i), sum) : sum);
        }
    }
}

// Scores of `count` key cells.
inline void score_cells(const CellTiles& cells, int64_t count, float* space) {
    if constexpr (tiled<Simd>)
        multiply_cells<Simd::Tiles>(cells, count, space);
    else
        for_row_tiles<Simd::rows>(count, cells);
}

// Floats of key cells as operands, and of the sums of one panel where tiles make them.
inline size_t key_cell_floats(int head_dim, int stride) {
    return static_cast<size_t>(key_cells) * stride * panel_rows<Simd>(head_dim);
}
constexpr size_t sum_floats = tiled<Simd> ? static_cast<size_t>(key_cells) * full_width : 0;

size_t antidiagonal_scratch(int head_dim, int stride, int cells) {
    const size_t d = head_dim, panels = (cells + full_width - 1) / full_width;
    return panels * full_width * stride * panel_rows<Simd>(head_dim) + key_cells * full_width + sum_floats +
           key_cell_floats(head_dim, stride) + 4 * d + 4 * key_cells + Space::slack + 64 * panels;
}

// Query stride − 1 − s of every cell, for the panel of cells from `first` on.
void load_cells(const AntidiagonalTask& task, int first, float* panel, const FourRows& rows) {
    const Numbers& numbers = task.numbers;
    for (int s = 0; s < task.stride; ++s) {
        const int64_t offset = task.stride - 1 - s, left = task.queries.count - offset;
        const int64_t count = left > 0 ? (left + task.stride - 1) / task.stride : 0;
        const QueryRows queries{element_at(task.queries.data, numbers.element, offset * task.queries.stride),
                                task.queries.stride * task.stride, count < task.cells ? count : task.cells};
        load_panel(queries, first, numbers.element, numbers.head_dim, query_factor(numbers, 1.0f),
                   panel + s * panel_rows<Simd>(numbers.head_dim) * full_width, full_width, rows);
    }
}

// Key cells as operands with whole cells: where they are, or a copy that ends with zeros.
struct KeyCells {
    const float* k;
    int64_t stride;
};

KeyCells load_key_cells(const AntidiagonalTask& task, int64_t first, int64_t cells, float* copy) {
    const Numbers& numbers = task.numbers;
    const int64_t token = first * task.stride, tokens = cells * task.stride;
    const int64_t filled = operands<Simd>(numbers.head_dim), row_length = row_operands<Simd>(numbers.head_dim);
    if (!Simd::pairs && numbers.element == Element::float32 && token + tokens <= task.keys.count)
        return {static_cast<const float*>(task.keys.data) + token * task.keys.stride, task.keys.stride};
    for (int64_t i = 0; i < tokens; ++i) {
        float* row = copy + i * row_length;
        const int64_t first_value = (token + i) * task.keys.stride;
        if (token + i >= task.keys.count)
            memset(row, 0, sizeof(float) * row_length);
        else if constexpr (Simd::pairs)
            copy_pairs<Simd>(task.keys.data, numbers.element == Element::float32, first_value, numbers.head_dim, row);
        else
            widen(task.keys.data, numbers.element, first_value, numbers.head_dim, row);
        memset(row + filled, 0, sizeof(float) * (row_length - filled));
    }
    return {copy, row_length};
}

void antidiagonal(const AntidiagonalTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim, stride = task.stride;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    const FourRows results(space.take(4 * key_cells), key_cells);
    float* scores = space.take(static_cast<size_t>(key_cells) * full_width);
    float* sums_space = space.take(sum_floats);
    float* copy = space.take(key_cell_floats(head_dim, stride));
    const size_t panel_floats = stride * panel_rows<Simd>(head_dim) * full_width;
    const int panels = (task.cells + full_width - 1) / full_width;
    float* q = space.take(panels * panel_floats);
    for (int i = 0; i < panels; ++i) load_cells(task, i * full_width, q + i * panel_floats, rows);
    const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    for (int64_t first = 0; first < task.columns; first += key_cells) {
        const int64_t left = task.columns - first, count = left < key_cells ? left : key_cells;
        const KeyCells keys = load_key_cells(task, first, count, copy);
        for (int i = 0; i < panels; ++i) {
            score_cells({keys.k, keys.stride, q + i * panel_floats, stride, head_dim, sum_factor(task.numbers, 1.0f), scores},
                        count, sums_space);
            for (int lane = 0; lane < full_width && i * full_width + lane < task.cells; lane += 4) {
                columns_to_rows(scores + lane, full_width, ones, static_cast<int>(count), results);
                for (int j = 0; j < 4 && i * full_width + lane + j < task.cells; ++j)
                    memcpy(task.scores + (i * full_width + lane + j) * task.columns + first, results.at[j],
                           sizeof(float) * count);
            }
        }
    }
}

size_t antidiagonal_mass_scratch(int head_dim, int stride, int64_t columns, int panels) {
    const size_t d = head_dim, cells = columns;
    return panels * full_width * (stride * panel_rows<Simd>(head_dim) + cells) + (cells + 1) * full_width + sum_floats +
           key_cell_floats(head_dim, stride) + 4 * d + Space::slack + 64 * static_cast<size_t>(panels);
}

// Partial last cells: means over the pairs that there are, and weight by the keys that there are. `lane`: of the partial
// query cell in the panel whose scores [seen, full_width] these are, or none.
void correct_edges(const AntidiagonalTask& cells, int64_t lane, int64_t seen, const FourRows& rows, float* scores) {
    const float stride = static_cast<float>(cells.stride);
    const int64_t key_rest = cells.keys.count % cells.stride, query_rest = cells.queries.count % cells.stride;
    if (lane >= 0)
        for (int64_t key = 0; key < seen; ++key)
            scores[key * full_width + lane] *= stride / static_cast<float>(query_rest);
    if (!key_rest || seen < cells.columns) return;
    float* last = scores + (cells.columns - 1) * full_width;
    for (int i = 0; i < full_width; ++i) last[i] *= stride / static_cast<float>(key_rest);
    if (lane >= 0) {  // their antidiagonal may be empty: the mean over all pairs of the cell
        const Numbers& numbers = cells.numbers;
        const QueryRows* const all[2] = {&cells.queries, &cells.keys};
        for (int i = 0; i < 2; ++i) {
            float* sum = rows.at[i];
            memset(sum, 0, sizeof(float) * numbers.head_dim);
            for (int64_t token = all[i]->count - all[i]->count % cells.stride; token < all[i]->count; ++token) {
                widen(all[i]->data, numbers.element, token * all[i]->stride, numbers.head_dim, rows.at[2]);
                for (int d = 0; d < numbers.head_dim; ++d) sum[d] += rows.at[2][d];
            }
        }
        float product = 0.0f;
        for (int d = 0; d < numbers.head_dim; ++d) product += rows.at[0][d] * rows.at[1][d];
        last[lane] = numbers.scale * stride * product / static_cast<float>(query_rest * key_rest);
    }
    const float weight = log2f(static_cast<float>(key_rest) / stride);
    for (int i = 0; i < full_width; ++i) last[i] += weight;
}

// Key cells ahead of the query cells of a panel; `diagonal`: the last that its first query cell sees.
void hide_cells_ahead(int64_t diagonal, int64_t seen, float* scores) {
    for (int64_t key = diagonal + 1 > 0 ? diagonal + 1 : 0; key < seen; ++key)
        for (int64_t lane = 0; lane < full_width && diagonal + lane < key; ++lane)
            scores[key * full_width + lane] = -INFINITY;
}

// Softmax of every query cell of one panel over scores [columns, full_width]; sums [blocks, full_width] over key blocks.
// Returns what every lane's sums must be multiplied by.
void softmax_of_cells(const float* scores, int64_t columns, int block_cells, float* sums, float* shares) {
    Simd::Vector largest[Simd::vectors], total[Simd::vectors];
    for (int j = 0; j < Simd::vectors; ++j) {
        largest[j] = Simd::set(-INFINITY);
        total[j] = Simd::zero();
    }
    for (int64_t key = 0; key < columns; ++key)
        for (int j = 0; j < Simd::vectors; ++j)
            largest[j] = Simd::largest(largest[j], Simd::load(scores + key * full_width + j * Simd::lanes));
    for (int j = 0; j < Simd::vectors; ++j) largest[j] = Simd::finite_or_zero(largest[j]);
    for (int64_t key = 0; key < columns; sums += full_width) {
        const int64_t end = key + block_cells < columns ? key + block_cells : columns;
        Simd::Vector sum[Simd::vectors];
        for (int j = 0; j < Simd::vectors; ++j) sum[j] = Simd::zero();
        for (; key < end; ++key)
            for (int j = 0; j < Simd::vectors; ++j) {
                const Simd::Vector score = Simd::load(scores + key * full_width + j * Simd::lanes);
                sum[j] = Simd::add(sum[j], Simd::exp2(Simd::subtract(score, largest[j])));
            }
        for (int j = 0; j < Simd::vectors; ++j) {
            total[j] = Simd::add(total[j], sum[j]);
            Simd::store(sums + j * Simd::lanes, sum[j]);
        }
    }
    for (int j = 0; j < Simd::vectors; ++j) Simd::store(shares + j * Simd::lanes, total[j]);
    for (int i = 0; i < full_width; ++i) shares[i] = 1.0f / shares[i];
}

void antidiagonal_mass(const AntidiagonalMassTask& task, float* scratch) {
    AntidiagonalTask cells = task.cells;
    cells.numbers.scale *= log2_of_e;
    const int head_dim = cells.numbers.head_dim, stride = cells.stride;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    float* copy = space.take(key_cell_floats(head_dim, stride));
    float* sums = space.take(static_cast<size_t>(task.blocks) * full_width);
    float* shares = space.take(full_width);
    float* sums_space = space.take(sum_floats);
    const size_t panel_floats = stride * panel_rows<Simd>(head_dim) * full_width;
    const size_t panel_scores = static_cast<size_t>(cells.columns) * full_width;
    float* q = space.take(task.panels * panel_floats);
    float* scores = space.take(task.panels * panel_scores);
    const int64_t query_blocks = (cells.cells + task.block_cells - 1) / task.block_cells;
    const bool partial = cells.queries.count % stride && cells.queries.count < static_cast<int64_t>(cells.cells) * stride;
    memset(task.mass, 0, sizeof(float) * query_blocks * task.blocks);
    for (int from = 0; from < cells.cells; from += task.panels * full_width) {
        const int wanted = (cells.cells - from + full_width - 1) / full_width;
        const int panels = wanted < task.panels ? wanted : task.panels;
        for (int i = 0; i < panels; ++i) load_cells(cells, from + i * full_width, q + i * panel_floats, rows);
        const int64_t all_seen = task.diagonal + from + panels * full_width;
        const int64_t columns = all_seen < cells.columns ? all_seen : cells.columns;
        for (int64_t first = 0; first < columns; first += key_cells) {
            const int64_t left = columns - first, count = left < key_cells ? left : key_cells;
            const KeyCells keys = load_key_cells(cells, first, count, copy);
            for (int i = 0; i < panels; ++i)
                score_cells({keys.k, keys.stride, q + i * panel_floats, stride, head_dim, sum_factor(cells.numbers, 1.0f),
                             scores + i * panel_scores + first * full_width},
                            count, sums_space);
        }
        for (int i = 0; i < panels; ++i) {
            const int first = from + i * full_width, left = cells.cells - first, count = left < full_width ? left : full_width;
            float* mine = scores + i * panel_scores;
            const int64_t lane = partial && left <= full_width ? left - 1 : -1;
            const int64_t last_seen = task.diagonal + first + full_width;
            const int64_t seen = last_seen < cells.columns ? last_seen : cells.columns;
            correct_edges(cells, lane, seen, rows, mine);
            hide_cells_ahead(task.diagonal + first, seen, mine);
            softmax_of_cells(mine, seen, task.block_cells, sums, shares);
            if (lane >= 0) shares[lane] *= static_cast<float>(cells.queries.count % stride) / static_cast<float>(stride);
            for (int cell = 0; cell < count; ++cell) {
                float* mass = task.mass + (first + cell) / task.block_cells * task.blocks;
                for (int64_t block = 0; block * task.block_cells < seen; ++block)
                    mass[block] += sums[block * full_width + cell] * shares[cell];
            }
        }
    }
}

}  // namespace
