// Attention of one query tile over the kept keys: online softmax over chunks of keys that fit the first two caches.
#pragma once

#include "kernels.hpp"
#include "tile.hpp"

namespace {

using videosieve::AttentionTask;
using videosieve::Element;
using videosieve::Run;

constexpr int chunk_keys = 128;  // keys whose weights are held at a time
constexpr float log2_of_e = 1.44269504088896341f, ln_of_2 = 0.69314718055994531f;

// Keys and values that lie next to one another.
struct Piece {
    const float* k;
    const float* v;
    int64_t count;
};

struct Chunk {
    Piece pieces[chunk_keys];
    int piece_count;
    int64_t keys;
    int64_t k_stride;
    int64_t v_stride;
};

// Queries of one panel; vectors along the queries. Scores are in units of log 2.
struct Panel {
    float* q;        // [head_dim, width], scaled
    float* output;   // [head_dim, width], Σ weight · value
    float* largest;  // [width]
    float* sum;      // [width], Σ weight
};

inline void widen(const void* x, Element element, int64_t first, int count, float* y) {
    if (element == Element::float32) {
        memcpy(y, static_cast<const float*>(x) + first, sizeof(float) * count);
        return;
    }
    const uint16_t* p = static_cast<const uint16_t*>(x) + first;
    int i = 0;
    if (element == Element::bfloat16) {
        for (; i + Simd::lanes <= count; i += Simd::lanes) Simd::store(y + i, Simd::load_bfloat(p + i));
        for (; i < count; ++i) y[i] = float_of_bfloat(p[i]);
    } else {
        for (; i + Simd::lanes <= count; i += Simd::lanes) Simd::store(y + i, Simd::load_half(p + i));
        for (; i < count; ++i) y[i] = float_of_half(p[i]);
    }
}

inline void narrow(const float* x, void* y, Element element, int64_t first, int count) {
    if (element == Element::float32) {
        memcpy(static_cast<float*>(y) + first, x, sizeof(float) * count);
        return;
    }
    uint16_t* p = static_cast<uint16_t*>(y) + first;
    if (element == Element::bfloat16)
        for (int i = 0; i < count; ++i) p[i] = bfloat_of_float(x[i]);
    else
        for (int i = 0; i < count; ++i) p[i] = half_of_float(x[i]);
}

template <int Vectors>
struct ScoreTiles {
    static constexpr int width = Vectors * Simd::lanes;
    const float* k;
    int64_t k_stride;
    const float* q;
    int head_dim;
    float* scores;
    Simd::Vector* largest;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        auto tile = zero_tile<Simd, Rows, Vectors>();
        multiply_tile<Simd, Rows, Vectors, false>(tile, k + first * k_stride, k_stride, q, head_dim);
        for (int i = 0; i < Rows; ++i)
            for (int j = 0; j < Vectors; ++j) {
                Simd::store(scores + (first + i) * width + j * Simd::lanes, tile.at[i][j]);
                largest[j] = Simd::largest(largest[j], tile.at[i][j]);
            }
    }
};

template <int Vectors>
struct OutputTiles {
    static constexpr int width = Vectors * Simd::lanes;
    const Chunk& chunk;
    const float* weights;
    float* output;
    const Simd::Vector* shrink;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        auto tile = zero_tile<Simd, Rows, Vectors>();
        const float* b = weights;
        for (int i = 0; i < chunk.piece_count; ++i) {
            const Piece& piece = chunk.pieces[i];
            multiply_tile<Simd, Rows, Vectors, true>(tile, piece.v + first, chunk.v_stride, b, piece.count);
            b += piece.count * width;
        }
        for (int i = 0; i < Rows; ++i)
            for (int j = 0; j < Vectors; ++j) {
                float* o = output + (first + i) * width + j * Simd::lanes;
                Simd::store(o, Simd::multiply_add(Simd::load(o), shrink[j], tile.at[i][j]));
            }
    }
};

// One step of the online softmax for one panel: scores, weights, output.
template <int Vectors>
void attend_chunk(const Chunk& chunk, const Panel& panel, int head_dim, float* scores) {
    constexpr int width = Vectors * Simd::lanes;
    Simd::Vector largest[Vectors], shrink[Vectors], sum[Vectors];
    for (int j = 0; j < Vectors; ++j) largest[j] = Simd::load(panel.largest + j * Simd::lanes);
    float* at = scores;
    for (int i = 0; i < chunk.piece_count; ++i) {
        const Piece& piece = chunk.pieces[i];
        for_row_tiles<Simd::rows>(
            piece.count, ScoreTiles<Vectors>{piece.k, chunk.k_stride, panel.q, head_dim, at, largest});
        at += piece.count * width;
    }
    for (int j = 0; j < Vectors; ++j) {
        float* stored = panel.largest + j * Simd::lanes;
        const Simd::Vector before = Simd::load(stored);
        Simd::store(stored, largest[j]);
        largest[j] = Simd::finite_or_zero(largest[j]);
        shrink[j] = Simd::exp2(Simd::subtract(before, largest[j]));
        sum[j] = Simd::zero();
    }
    for (int64_t key = 0; key < chunk.keys; ++key)
        for (int j = 0; j < Vectors; ++j) {
            float* score = scores + key * width + j * Simd::lanes;
            const Simd::Vector weight = Simd::exp2(Simd::subtract(Simd::load(score), largest[j]));
            sum[j] = Simd::add(sum[j], weight);
            Simd::store(score, weight);
        }
    for (int j = 0; j < Vectors; ++j) {
        float* stored = panel.sum + j * Simd::lanes;
        Simd::store(stored, Simd::multiply_add(Simd::load(stored), shrink[j], sum[j]));
    }
    for_row_tiles<Simd::rows>(head_dim, OutputTiles<Vectors>{chunk, scores, panel.output, shrink});
}

// Walks the runs of a task in chunks; keys and values of two bytes are widened into `space`.
class Chunks {
  public:
    Chunks(const AttentionTask& task, float* space) : task_(task), space_(space) {}

    bool next(Chunk& chunk) {
        chunk.piece_count = 0;
        chunk.keys = 0;
        const bool direct = task_.element == Element::float32;
        chunk.k_stride = direct ? task_.k_stride : task_.head_dim;
        chunk.v_stride = direct ? task_.v_stride : task_.head_dim;
        while (chunk.keys < chunk_keys && run_ < task_.run_count) {
            const Run& run = task_.runs[run_];
            const int64_t left = run.count - done_, space = chunk_keys - chunk.keys;
            const int64_t count = left < space ? left : space;
            if (direct)
                chunk.pieces[chunk.piece_count++] = {
                    static_cast<const float*>(task_.k) + (run.start + done_) * task_.k_stride,
                    static_cast<const float*>(task_.v) + (run.start + done_) * task_.v_stride, count};
            else
                copy(run.start + done_, count, chunk.keys);
            chunk.keys += count;
            done_ += count;
            if (done_ == run.count) {
                ++run_;
                done_ = 0;
            }
        }
        if (!direct && chunk.keys) {
            chunk.pieces[0] = {space_, space_ + chunk_keys * task_.head_dim, chunk.keys};
            chunk.piece_count = 1;
        }
        return chunk.keys > 0;
    }

  private:
    void copy(int64_t first, int64_t count, int64_t to) {
        float* k = space_ + to * task_.head_dim;
        float* v = k + chunk_keys * task_.head_dim;
        for (int64_t i = 0; i < count; ++i) {
            widen(task_.k, task_.element, (first + i) * task_.k_stride, task_.head_dim, k + i * task_.head_dim);
            widen(task_.v, task_.element, (first + i) * task_.v_stride, task_.head_dim, v + i * task_.head_dim);
        }
    }

    const AttentionTask& task_;
    float* space_;
    int64_t run_ = 0;
    int64_t done_ = 0;
};

constexpr int full_width = Simd::vectors * Simd::lanes;
constexpr int most_panels = (videosieve::task_queries + full_width - 1) / full_width;

// Panels are full_width queries wide; a last one that one vector holds is one vector wide.
inline int panel_width(int queries_left) { return queries_left <= Simd::lanes ? Simd::lanes : full_width; }

size_t attention_scratch(int head_dim) {
    const size_t panel = (2 * static_cast<size_t>(head_dim) + 2) * full_width;
    return most_panels * panel + chunk_keys * (full_width + 2 * static_cast<size_t>(head_dim)) + head_dim;
}

void load_queries(const AttentionTask& task, int first, int width, Panel& panel, float* row) {
    const float factor = task.scale * log2_of_e;
    for (int i = 0; i < width; ++i) {
        if (first + i < task.queries)
            widen(task.q, task.element, (first + i) * task.q_stride, task.head_dim, row);
        else
            memset(row, 0, sizeof(float) * task.head_dim);
        for (int d = 0; d < task.head_dim; ++d) panel.q[d * width + i] = row[d] * factor;
    }
    memset(panel.output, 0, sizeof(float) * task.head_dim * width);
    for (int i = 0; i < width; ++i) {
        panel.largest[i] = -INFINITY;
        panel.sum[i] = 0.0f;
    }
}

void store_output(const AttentionTask& task, int first, int width, const Panel& panel, float* row) {
    for (int i = 0; i < width && first + i < task.queries; ++i) {
        const float sum = panel.sum[i], share = sum == 0.0f ? 1.0f : 1.0f / sum;
        for (int d = 0; d < task.head_dim; ++d) row[d] = panel.output[d * width + i] * share;
        narrow(row, task.output, task.element, static_cast<int64_t>(first + i) * task.head_dim, task.head_dim);
        const float largest = panel.largest[i] == -INFINITY ? 0.0f : panel.largest[i];
        task.lse[first + i] = largest * ln_of_2 + logf(sum);
    }
}

void attention(const AttentionTask& task, float* scratch) {
    Panel panels[most_panels];
    const size_t panel_floats = static_cast<size_t>(task.head_dim) * full_width;
    float* at = scratch;
    auto take = [&at](size_t floats) {
        float* taken = at;
        at += floats;
        return taken;
    };
    float* scores = take(static_cast<size_t>(chunk_keys) * full_width);
    int panel_count = 0;
    for (int first = 0; first < task.queries; first += full_width) {
        Panel& panel = panels[panel_count++];
        panel = {take(panel_floats), take(panel_floats), take(full_width), take(full_width)};
    }
    float* space = take(2 * static_cast<size_t>(chunk_keys) * task.head_dim);
    float* row = take(task.head_dim);
    for (int i = 0; i < panel_count; ++i)
        load_queries(task, i * full_width, panel_width(task.queries - i * full_width), panels[i], row);
    Chunk chunk;
    Chunks chunks(task, space);
    while (chunks.next(chunk))
        for (int i = 0; i < panel_count; ++i) {
            if (panel_width(task.queries - i * full_width) == full_width)
                attend_chunk<Simd::vectors>(chunk, panels[i], task.head_dim, scores);
            else
                attend_chunk<1>(chunk, panels[i], task.head_dim, scores);
        }
    for (int i = 0; i < panel_count; ++i)
        store_output(task, i * full_width, panel_width(task.queries - i * full_width), panels[i], row);
}

void exp2_all(const float* x, float* y, int64_t count) {
    for (int64_t i = 0; i < count; i += Simd::lanes) Simd::store(y + i, Simd::exp2(Simd::load(x + i)));
}

}  // namespace
