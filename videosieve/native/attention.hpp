// Attention of one query tile over the kept keys: online softmax over chunks of keys that fit the first two caches.
#pragma once

#include "chunk_products.hpp"

namespace {

using videosieve::AttentionTask;
using videosieve::SampledTask;

// The softmax of one panel so far; scores in units of log 2.
struct Softmax {
    float* output;   // [row_values(head_dim), width], Σ weight · value
    float* largest;  // [width]
    float* sum;      // [width], Σ weight

    static size_t floats(int head_dim) { return (row_values<Simd>(head_dim) + size_t{2}) * full_width; }
    Softmax() = default;
    Softmax(Space& space, int head_dim)
        : output(space.take(row_values<Simd>(head_dim) * full_width)),
          largest(space.take(full_width)),
          sum(space.take(full_width)) {
        clear(head_dim);
    }
    void clear(int head_dim) const {
        memset(output, 0, sizeof(float) * row_values<Simd>(head_dim) * full_width);
        for (int i = 0; i < full_width; ++i) {
            largest[i] = -INFINITY;
            sum[i] = 0.0f;
        }
    }
};

template <int Vectors, bool Biased>
struct ScoreTiles {
    static constexpr int width = Vectors * Simd::lanes;
    const float* k;
    int64_t k_stride;
    const float* q;
    int64_t steps;
    float* scores;
    Simd::Vector* largest;
    Prefetch& prefetch;
    float factor;       // as in a chunk
    const float* bias;  // of every key, where Biased

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        prefetch.follow(Rows);
        auto tile = zero_tile<Simd, Rows, Vectors>();
        multiply_tile<Simd, Rows, Vectors, false>(tile, k + first * k_stride, k_stride, q, steps);
        const Simd::Vector unit = Simd::set(factor);
        for (int i = 0; i < Rows; ++i)
            for (int j = 0; j < Vectors; ++j) {
                tile.at[i][j] = scored(tile.at[i][j], unit);
                if constexpr (Biased) tile.at[i][j] = Simd::add(tile.at[i][j], Simd::set(bias[first + i]));
                Simd::store(scores + (first + i) * width + j * Simd::lanes, tile.at[i][j]);
                largest[j] = Simd::largest(largest[j], tile.at[i][j]);
            }
    }
};

template <class S, int Vectors>
struct OutputTiles {
    static constexpr int width = Vectors * Simd::lanes;
    const Chunk& chunk;
    const float* weights;
    float* output;
    const Simd::Vector* shrink;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        auto tile = zero_tile<S, Rows, Vectors>();
        const float* b = weights;
        for (int i = 0; i < chunk.v.count; ++i) {
            const Piece& piece = chunk.v.at[i];
            const int64_t steps = operands<S>(piece.count);
            multiply_tile<S, Rows, Vectors, true>(tile, piece.at + first, chunk.v.stride, b, steps);
            b += steps * width;
        }
        for (int i = 0; i < Rows; ++i)
            for (int j = 0; j < Vectors; ++j) {
                float* o = output + (first + i) * width + j * Simd::lanes;
                Simd::store(o, Simd::multiply_add(Simd::load(o), shrink[j], tile.at[i][j]));
            }
    }
};

// Scores [keys, width] of a chunk; `largest` is raised to the largest of each query.
template <int Vectors, bool Biased = false>
inline void score_chunk(const Chunk& chunk, const float* q, int head_dim, float* scores, Simd::Vector* largest,
                        Prefetch& prefetch, const float* bias = nullptr) {
    if constexpr (tiled<Simd>) {
        multiply_chunk<Vectors>(chunk, q, head_dim, scores);
        score_sums<Vectors, Biased>(chunk, scores, largest, prefetch, bias);
    } else {
        for (int i = 0; i < chunk.k.count; ++i) {
            const Piece& piece = chunk.k.at[i];
            for_row_tiles<Simd::rows>(piece.count, ScoreTiles<Vectors, Biased>{
                piece.at, chunk.k.stride, q, operands<Simd>(head_dim), scores, largest, prefetch, chunk.factor, bias});
            scores += piece.count * Vectors * Simd::lanes;
            if (Biased) bias += piece.count;
        }
    }
}

// Scores become weights in place, paired ones where S::pairs. `largest`: so far, this chunk included; `shrink`: what
// earlier weights are worth now; `sum`: of the weights before they are rounded.
template <class S, int Vectors>
inline void weigh_chunk(int64_t keys, float* scores, Simd::Vector* largest, const Softmax& softmax,
                        Simd::Vector* shrink, Simd::Vector* sum) {
    for (int j = 0; j < Vectors; ++j) {
        float* stored = softmax.largest + j * Simd::lanes;
        const Simd::Vector before = Simd::load(stored);
        Simd::store(stored, largest[j]);
        largest[j] = Simd::finite_or_zero(largest[j]);
        shrink[j] = Simd::exp2(Simd::subtract(before, largest[j]));
        sum[j] = Simd::zero();
    }
    if constexpr (S::pairs) {
        for (int64_t key = 0; key < keys; key += 2)
            for (int j = 0; j < Vectors; ++j) {
                const float* score = scores + (key * Vectors + j) * Simd::lanes;
                const Simd::Vector upper = Simd::exp2(Simd::subtract(Simd::load(score), largest[j]));
                const Simd::Vector lower = key + 1 < keys ? Simd::exp2(Simd::subtract(
                                                                Simd::load(score + Vectors * Simd::lanes), largest[j]))
                                                          : Simd::zero();
                sum[j] = Simd::add(sum[j], Simd::add(upper, lower));
                Simd::store(scores + (key / 2 * Vectors + j) * Simd::lanes, S::pair(upper, lower));
            }
        if constexpr (tiled<S>) clear_rest<Vectors>(keys, scores);
        return;
    }
    for (int64_t key = 0; key < keys; ++key)
        for (int j = 0; j < Vectors; ++j) {
            float* score = scores + (key * Vectors + j) * Simd::lanes;
            const Simd::Vector weight = Simd::exp2(Simd::subtract(Simd::load(score), largest[j]));
            sum[j] = Simd::add(sum[j], weight);
            Simd::store(score, weight);
        }
}

// The softmax goes on by the values of a chunk, `sum` of the weights among them.
template <class S, int Vectors>
inline void add_weighted(const Chunk& chunk, const float* weights, int head_dim, const Simd::Vector* shrink,
                         const Simd::Vector* sum, const Softmax& softmax) {
    for (int j = 0; j < Vectors; ++j) {
        float* stored = softmax.sum + j * Simd::lanes;
        Simd::store(stored, Simd::multiply_add(Simd::load(stored), shrink[j], sum[j]));
    }
    if constexpr (tiled<S>)
        add_turned<Vectors>(chunk, weights, head_dim, shrink, softmax.output);
    else
        for_row_tiles<Simd::rows>(head_dim, OutputTiles<S, Vectors>{chunk, weights, softmax.output, shrink});
}

// Both, from scores in place to the next state of the softmax; values are paired where S::pairs.
template <class S, int Vectors>
inline void add_chunk(const Chunk& chunk, float* scores, int head_dim, Simd::Vector* largest, const Softmax& softmax) {
    Simd::Vector shrink[Vectors], sum[Vectors];
    weigh_chunk<S, Vectors>(chunk.keys, scores, largest, softmax, shrink, sum);
    add_weighted<S, Vectors>(chunk, scores, head_dim, shrink, sum, softmax);
}

template <int Vectors, bool Biased>
void attend_chunk(const Chunk& chunk, const float* q, int head_dim, float* scores, const Softmax& softmax,
                  Prefetch& prefetch) {
    Simd::Vector largest[Vectors];
    for (int j = 0; j < Vectors; ++j) largest[j] = Simd::load(softmax.largest + j * Simd::lanes);
    score_chunk<Vectors, Biased>(chunk, q, head_dim, scores, largest, prefetch, chunk.bias);
    add_chunk<Simd, Vectors>(chunk, scores, head_dim, largest, softmax);
}

}  // namespace

#include "causal.hpp"

namespace {

// Where output [count, head_dim] and LSE [count] of the queries go; query i to row order[i], or i where that is null.
struct OutputRows {
    void* output;
    float* lse;
    Element element;
    int64_t count;
    const int64_t* order;
};

// LSE of one query of a panel.
inline float lse_of(const Softmax& softmax, int lane) {
    const float largest = softmax.largest[lane] == -INFINITY ? 0.0f : softmax.largest[lane];
    return largest * ln_of_2 + logf(softmax.sum[lane]);
}

// Output and LSE of the queries of one panel from the `first` on.
void store_output(const Softmax& softmax, int head_dim, int64_t first, int width, const OutputRows& to,
                  const FourRows& rows) {
    for (int i = 0; i < width && first + i < to.count; i += 4) {
        float factors[4];
        for (int j = 0; j < 4; ++j) factors[j] = softmax.sum[i + j] == 0.0f ? 1.0f : 1.0f / softmax.sum[i + j];
        columns_to_rows(softmax.output + i, width, factors, head_dim, rows);
        for (int j = 0; j < 4 && first + i + j < to.count; ++j) {
            const int64_t query = first + i + j, row = to.order ? to.order[query] : query;
            narrow(rows.at[j], to.output, to.element, row * head_dim, head_dim);
            to.lse[row] = lse_of(softmax, i + j);
        }
    }
}

// The panels of a task: queries, and the state of their softmax.
struct Panels {
    float* q[most_panels];
    Softmax softmax[most_panels];
    int count;
    int64_t queries;
};

// `seen`: as in AttentionTask.
template <bool Biased>
void attend_keys(const KeyRuns& keys, const Numbers& numbers, const Panels& panels, float* scores, float* copies,
                 int64_t seen = videosieve::everything) {
    const int head_dim = numbers.head_dim;
    Chunks chunks(keys, numbers, copies);
    for_chunks(chunks, panels.count, [&](const Chunk& chunk, Prefetch& prefetch) {
        const Run& last = chunk.spans[chunk.span_count - 1];
        for (int i = 0; i < panels.count; ++i) {
            if (last.start + last.count > seen + i * full_width) {
                attend_diagonal(chunk, panels.q[i], head_dim, scores, panels.softmax[i], prefetch,
                                seen + i * full_width, panel_width(panels.queries - i * full_width));
                continue;
            }
            if (panel_width(panels.queries - i * full_width) == full_width)
                attend_chunk<Simd::vectors, Biased>(chunk, panels.q[i], head_dim, scores, panels.softmax[i], prefetch);
            else
                attend_chunk<1, Biased>(chunk, panels.q[i], head_dim, scores, panels.softmax[i], prefetch);
        }
    });
}

size_t attention_scratch(int head_dim) {
    const size_t d = head_dim, q = panel_rows<Simd>(head_dim) * full_width;
    return most_panels * (q + Softmax::floats(head_dim)) + score_floats + Chunks::space(head_dim) + 4 * d +
           Space::slack;
}

void attention(const AttentionTask& task, float* scratch) {
    const Numbers& numbers = task.numbers;
    const int head_dim = numbers.head_dim;
    const int64_t queries = task.queries.count;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    float* scores = space.take(score_floats);
    Panels panels;
    panels.count = 0;
    panels.queries = queries;
    for (int64_t first = 0; first < queries; first += full_width, ++panels.count) {
        float* q = panels.q[panels.count] = space.take(panel_rows<Simd>(head_dim) * full_width);
        panels.softmax[panels.count] = Softmax(space, head_dim);
        load_panel(task.queries, first, numbers.element, head_dim, query_factor(numbers, log2_of_e), q,
                   panel_width(queries - first), rows);
    }
    float* copies = space.take(Chunks::space(head_dim));
    attend_keys<false>(task.keys, numbers, panels, scores, copies, task.seen);
    if (task.answered_lse) {  // what is kept has been seen; its LSE is wanted alone, the output goes on
        for (int64_t i = 0; i < queries; ++i)
            task.lse[task.queries.order ? task.queries.order[i] : i] =
                lse_of(panels.softmax[i / full_width], static_cast<int>(i % full_width));
        attend_keys<true>(task.centroids, numbers, panels, scores, copies);
    }
    float* lse = task.answered_lse ? task.answered_lse : task.lse;
    const OutputRows to{task.output, lse, numbers.element, queries, task.queries.order};
    for (int i = 0; i < panels.count; ++i)
        store_output(panels.softmax[i], head_dim, i * full_width, panel_width(queries - i * full_width), to, rows);
}

}  // namespace
