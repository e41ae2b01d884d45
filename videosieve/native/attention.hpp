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
    bool direct;  // read where the caller keeps them, not from a widened copy
};

// Asks for the keys and values of a later chunk, a few rows at a time, while an earlier one is worked on.
class Prefetch {
  public:
    // `share`: how many panels walk the earlier chunk.
    Prefetch(const Chunk& chunk, int head_dim, int share)
        : chunk_(chunk),
          bytes_(head_dim * static_cast<int>(sizeof(float))),
          share_(share),
          pieces_(chunk.direct ? chunk.piece_count : 0) {}

    void follow(int rows) {
        for (rows = (rows + share_ - 1) / share_; rows > 0 && piece_ < pieces_; --rows) {
            const Piece& piece = chunk_.pieces[piece_];
            const char* k = reinterpret_cast<const char*>(piece.k + row_ * chunk_.k_stride);
            const char* v = reinterpret_cast<const char*>(piece.v + row_ * chunk_.v_stride);
            for (int byte = 0; byte < bytes_; byte += 64) {
                __builtin_prefetch(k + byte, 0, 2);
                __builtin_prefetch(v + byte, 0, 2);
            }
            if (++row_ == piece.count) {
                row_ = 0;
                ++piece_;
            }
        }
    }

  private:
    const Chunk& chunk_;
    int bytes_;
    int share_;
    int pieces_;
    int piece_ = 0;
    int64_t row_ = 0;
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
    Prefetch& prefetch;

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        prefetch.follow(Rows);
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
void attend_chunk(const Chunk& chunk, const Panel& panel, int head_dim, float* scores, Prefetch& prefetch) {
    constexpr int width = Vectors * Simd::lanes;
    Simd::Vector largest[Vectors], shrink[Vectors], sum[Vectors];
    for (int j = 0; j < Vectors; ++j) largest[j] = Simd::load(panel.largest + j * Simd::lanes);
    float* at = scores;
    for (int i = 0; i < chunk.piece_count; ++i) {
        const Piece& piece = chunk.pieces[i];
        for_row_tiles<Simd::rows>(
            piece.count, ScoreTiles<Vectors>{piece.k, chunk.k_stride, panel.q, head_dim, at, largest, prefetch});
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

// Walks the runs of a task in chunks. Keys and values of two bytes are widened into `space`, which holds two chunks:
// the one that is worked on and the next.
class Chunks {
  public:
    Chunks(const AttentionTask& task, float* space) : task_(task), space_(space) {}

    static size_t space(int head_dim) { return 4 * static_cast<size_t>(chunk_keys) * head_dim; }

    // Fills the chunk that comes next; false after the last.
    bool next(Chunk& chunk) {
        chunk.direct = task_.element == Element::float32;
        chunk.piece_count = 0;
        chunk.keys = 0;
        chunk.k_stride = chunk.direct ? task_.k_stride : task_.head_dim;
        chunk.v_stride = chunk.direct ? task_.v_stride : task_.head_dim;
        odd_ = !odd_;
        float* k = space_ + (odd_ ? space(task_.head_dim) / 2 : 0);
        float* v = k + static_cast<size_t>(chunk_keys) * task_.head_dim;
        while (chunk.keys < chunk_keys && run_ < task_.run_count) {
            const Run& run = task_.runs[run_];
            const int64_t left = run.count - done_, room = chunk_keys - chunk.keys;
            const int64_t count = left < room ? left : room, first = run.start + done_;
            if (chunk.direct)
                chunk.pieces[chunk.piece_count++] = {static_cast<const float*>(task_.k) + first * task_.k_stride,
                                                     static_cast<const float*>(task_.v) + first * task_.v_stride,
                                                     count};
            else
                widen_rows(first, count, k + chunk.keys * task_.head_dim, v + chunk.keys * task_.head_dim);
            chunk.keys += count;
            done_ += count;
            if (done_ == run.count) {
                ++run_;
                done_ = 0;
            }
        }
        if (!chunk.direct) {
            chunk.pieces[0] = {k, v, chunk.keys};
            chunk.piece_count = chunk.keys > 0;
        }
        return chunk.keys > 0;
    }

  private:
    void widen_rows(int64_t first, int64_t count, float* k, float* v) {
        for (int64_t i = 0; i < count; ++i) {
            widen(task_.k, task_.element, (first + i) * task_.k_stride, task_.head_dim, k + i * task_.head_dim);
            widen(task_.v, task_.element, (first + i) * task_.v_stride, task_.head_dim, v + i * task_.head_dim);
        }
    }

    const AttentionTask& task_;
    float* space_;
    int64_t run_ = 0;
    int64_t done_ = 0;
    bool odd_ = false;
};

constexpr int full_width = Simd::vectors * Simd::lanes;
constexpr int most_panels = (videosieve::task_queries + full_width - 1) / full_width;

// Panels are full_width queries wide; a last one that one vector holds is one vector wide.
inline int panel_width(int queries_left) { return queries_left <= Simd::lanes ? Simd::lanes : full_width; }

// Four rows of head_dim values, where queries and outputs wait between memory and panels.
struct FourRows {
    float* at[4];
    FourRows(float* space, int head_dim) : at{space, space + head_dim, space + 2 * head_dim, space + 3 * head_dim} {}
};

size_t attention_scratch(int head_dim) {
    const size_t panel = (2 * static_cast<size_t>(head_dim) + 2) * full_width;
    return most_panels * panel + static_cast<size_t>(chunk_keys) * full_width + Chunks::space(head_dim) + 4 * head_dim;
}

// Columns [first, first + 4) of a panel from four rows, which are queries; what is past the last is zero.
void load_columns(const AttentionTask& task, int query, float* columns, int width, const FourRows& rows) {
    const float factor = task.scale * log2_of_e;
    const float factors[4] = {factor, factor, factor, factor};
    for (int i = 0; i < 4; ++i) {
        if (query + i < task.queries)
            widen(task.q, task.element, (query + i) * task.q_stride, task.head_dim, rows.at[i]);
        else
            memset(rows.at[i], 0, sizeof(float) * task.head_dim);
    }
    int d = 0;
    for (; d + 4 <= task.head_dim; d += 4) {
        const float* const in[4] = {rows.at[0] + d, rows.at[1] + d, rows.at[2] + d, rows.at[3] + d};
        float* const at = columns + static_cast<int64_t>(d) * width;
        float* const out[4] = {at, at + width, at + 2 * width, at + 3 * width};
        Simd::transpose(in, out, factors);
    }
    for (; d < task.head_dim; ++d)
        for (int i = 0; i < 4; ++i) columns[static_cast<int64_t>(d) * width + i] = rows.at[i][d] * factor;
}

// The reverse: columns of a panel's output become rows, each times its factor.
void store_columns(const float* columns, int width, const float factors[4], int head_dim, const FourRows& rows) {
    int d = 0;
    for (; d + 4 <= head_dim; d += 4) {
        const float* const at = columns + static_cast<int64_t>(d) * width;
        const float* const in[4] = {at, at + width, at + 2 * width, at + 3 * width};
        float* const out[4] = {rows.at[0] + d, rows.at[1] + d, rows.at[2] + d, rows.at[3] + d};
        Simd::transpose(in, out, factors);
    }
    for (; d < head_dim; ++d)
        for (int i = 0; i < 4; ++i) rows.at[i][d] = columns[static_cast<int64_t>(d) * width + i] * factors[i];
}

void load_queries(const AttentionTask& task, int first, int width, Panel& panel, const FourRows& rows) {
    for (int i = 0; i < width; i += 4) load_columns(task, first + i, panel.q + i, width, rows);
    memset(panel.output, 0, sizeof(float) * task.head_dim * width);
    for (int i = 0; i < width; ++i) {
        panel.largest[i] = -INFINITY;
        panel.sum[i] = 0.0f;
    }
}

void store_output(const AttentionTask& task, int first, int width, const Panel& panel, const FourRows& rows) {
    for (int i = 0; i < width && first + i < task.queries; i += 4) {
        float factors[4];
        for (int j = 0; j < 4; ++j) factors[j] = panel.sum[i + j] == 0.0f ? 1.0f : 1.0f / panel.sum[i + j];
        store_columns(panel.output + i, width, factors, task.head_dim, rows);
        for (int j = 0; j < 4 && first + i + j < task.queries; ++j) {
            const int64_t query = first + i + j;
            narrow(rows.at[j], task.output, task.element, query * task.head_dim, task.head_dim);
            const float largest = panel.largest[i + j] == -INFINITY ? 0.0f : panel.largest[i + j];
            task.lse[query] = largest * ln_of_2 + logf(panel.sum[i + j]);
        }
    }
}

void attention(const AttentionTask& task, float* scratch) {
    Panel panels[most_panels];
    const size_t panel_floats = static_cast<size_t>(task.head_dim) * full_width;
    auto take = [&scratch](size_t floats) {
        float* taken = scratch;
        scratch += floats;
        return taken;
    };
    float* scores = take(static_cast<size_t>(chunk_keys) * full_width);
    int panel_count = 0;
    for (int first = 0; first < task.queries; first += full_width)
        panels[panel_count++] = {take(panel_floats), take(panel_floats), take(full_width), take(full_width)};
    float* space = take(Chunks::space(task.head_dim));
    const FourRows rows(take(4 * static_cast<size_t>(task.head_dim)), task.head_dim);
    for (int i = 0; i < panel_count; ++i)
        load_queries(task, i * full_width, panel_width(task.queries - i * full_width), panels[i], rows);
    Chunk chunk[2];
    Chunks chunks(task, space);
    for (bool more = chunks.next(chunk[0]), odd = false; more; odd = !odd) {
        more = chunks.next(chunk[!odd]);
        Prefetch prefetch(chunk[!odd], task.head_dim, panel_count);
        for (int i = 0; i < panel_count; ++i) {
            if (panel_width(task.queries - i * full_width) == full_width)
                attend_chunk<Simd::vectors>(chunk[odd], panels[i], task.head_dim, scores, prefetch);
            else
                attend_chunk<1>(chunk[odd], panels[i], task.head_dim, scores, prefetch);
        }
    }
    for (int i = 0; i < panel_count; ++i)
        store_output(task, i * full_width, panel_width(task.queries - i * full_width), panels[i], rows);
}

void exp2_all(const float* x, float* y, int64_t count) {
    for (int64_t i = 0; i < count; i += Simd::lanes) Simd::store(y + i, Simd::exp2(Simd::load(x + i)));
}

}  // namespace
