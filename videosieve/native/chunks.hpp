// The kept keys of a task, a chunk at a time, and the memory of the next chunk on its way while one is worked on.
#pragma once

#include "turned.hpp"

namespace {

using videosieve::KeyRuns;
using videosieve::Numbers;
using videosieve::Run;

constexpr int chunk_keys = 128;  // keys whose weights are held at a time

// Rows past the last that products by tiles read and write.
constexpr int spare_rows = tiled<Simd> ? tile_side : 0;

// Of a panel against a chunk.
constexpr size_t score_floats = static_cast<size_t>(chunk_keys + spare_rows) * full_width;

// Keys or values that lie next to one another.
struct Piece {
    const float* at;
    int64_t count;  // of keys
};

// Keys or values of a chunk. A row of keys holds row_operands(head_dim) operands. Paired values have a row of head_dim pairs
// for two keys; those of tiles are turned, as in turned.hpp. What a task does not need has no pieces.
struct Pieces {
    Piece at[chunk_keys];
    int count;
    int64_t stride;  // floats from row to row
    bool ready;      // read where the caller or a PairTask has them, not from a copy
};

struct Chunk {
    Pieces k;
    Pieces v;
    int64_t keys;
    Run spans[chunk_keys];  // places of the keys, ascending
    int span_count;
    float factor;  // that makes scores of sums of products, as in `scored`
    float bias[chunk_keys];  // of every key, in units of log 2, where the keys have one
};

// Asks for the keys and values of a later chunk, a few rows at a time, while an earlier one is worked on.
class Prefetch {
  public:
    // `share`: how many panels walk the earlier chunk.
    Prefetch(const Chunk& chunk, const KeyRuns& keys, const Numbers& numbers, int share) : chunk_(chunk), share_(share) {
        const bool turned = tiled<Simd> && keys.paired_v;
        const int64_t value_bytes = numbers.element == Element::float32 ? 4 : 2;
        const Rows own_k{keys.k, keys.k_stride * value_bytes, numbers.head_dim * value_bytes, keys.order};
        const Rows own_v{keys.v, keys.v_stride * value_bytes, numbers.head_dim * value_bytes, keys.order};
        const int64_t k_bytes = row_operands<Simd>(numbers.head_dim) * 4;
        const int64_t v_bytes = row_values<Simd>(numbers.head_dim) * 2;  // a row of pairs serves two keys
        k_ = Simd::pairs && chunk.k.ready ? Rows{keys.paired_k, k_bytes, k_bytes, nullptr} : own_k;
        v_ = Simd::pairs && (chunk.v.ready || turned) ? Rows{keys.paired_v, v_bytes, v_bytes, nullptr} : own_v;
    }

    void follow(int rows) {
        for (rows = (rows + share_ - 1) / share_; rows > 0 && span_ < chunk_.span_count; --rows) {
            const Run& span = chunk_.spans[span_];
            const int64_t place = span.start + row_;
            k_.fetch(place);
            if (v_.data) v_.fetch(place);
            if (++row_ == span.count) {
                row_ = 0;
                ++span_;
            }
        }
    }

  private:
    struct Rows {
        const void* data;
        int64_t stride;  // in bytes
        int64_t bytes;   // of a row
        const int64_t* order;

        void fetch(int64_t place) const {
            const char* row = static_cast<const char*>(data) + (order ? order[place] : place) * stride;
            for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(row + byte, 0, 2);
        }
    };

    const Chunk& chunk_;
    Rows k_;
    Rows v_;
    int share_;
    int span_ = 0;
    int64_t row_ = 0;
};

// Walks runs in chunks. Keys and values of two bytes, out of order or with a bias, are copied into `space` before they are
// worked on, when a prefetch has brought them near. Pairs that were made beforehand are read where they lie, unless a span
// begins or ends within a row of values, which then holds other values too: those are copied.
class Chunks {
  public:
    // `paired_values`: whether values are paired as well, where keys are.
    Chunks(const KeyRuns& keys, const Numbers& numbers, float* space, bool paired_values = Simd::pairs)
        : keys_(keys), numbers_(numbers), space_(space), paired_values_(paired_values) {}

    static size_t space(int head_dim) {
        return static_cast<size_t>(chunk_keys + spare_rows) * (row_operands<Simd>(head_dim) + row_values<Simd>(head_dim));
    }

    const KeyRuns& keys() const { return keys_; }
    const Numbers& numbers() const { return numbers_; }

    // Sets out what the chunk that comes next holds; false after the last.
    bool next(Chunk& chunk) {
        chunk.factor = sum_factor(numbers_, log2_of_e);
        chunk.span_count = 0;
        chunk.keys = 0;
        while (chunk.keys < chunk_keys && run_ < keys_.run_count) {
            const Run& run = keys_.runs[run_];
            const int64_t left = run.count - done_, room = chunk_keys - chunk.keys;
            const int64_t count = left < room ? left : room, first = run.start + done_;
            chunk.spans[chunk.span_count++] = {first, count};
            for (int64_t i = 0; keys_.bias && i < count; ++i)
                chunk.bias[chunk.keys + i] = keys_.bias[first + i] * log2_of_e;
            chunk.keys += count;
            done_ += count;
            if (done_ == run.count) {
                ++run_;
                done_ = 0;
            }
        }
        set_pieces(chunk);
        return chunk.keys > 0;
    }

    // Copies what is not read where it lies; the copy of the chunk before is gone then.
    void fill(Chunk& chunk) const {
        float* const v = space_ + static_cast<size_t>(chunk_keys + spare_rows) * row_operands<Simd>(numbers_.head_dim);
        const bool copies_k = !chunk.k.ready, copies_v = keys_.v && !chunk.v.ready;
        if (copies_k) hold(chunk.k, {space_, chunk.keys});
        if (copies_v) hold(chunk.v, {v, chunk.keys});
        copy(chunk, copies_k ? space_ : nullptr, copies_v ? v : nullptr);
    }

    // Of keys and values only what is asked for.
    void copy(const Chunk& chunk, float* k, float* v) const {
        if constexpr (tiled<Simd>)
            if (v && paired_values_ && keys_.paired_v) {
                splice_spans<Simd>(keys_.paired_v, chunk.spans, chunk.span_count, row_values<Simd>(numbers_.head_dim), v);
                v = nullptr;
            }
        if (!k && !v) return;
        int64_t tokens[chunk_keys + 1], count = 0;
        for (int i = 0; i < chunk.span_count; ++i)
            for (int64_t place = chunk.spans[i].start; place < chunk.spans[i].start + chunk.spans[i].count; ++place)
                tokens[count++] = keys_.order ? keys_.order[place] : place;
        if (k) copy_keys(tokens, count, k);
        if (v) copy_values(tokens, count, v);
    }

  private:
    static void hold(Pieces& pieces, Piece piece) {
        pieces.at[0] = piece;
        pieces.count = 1;
    }

    // Whether the keys of a chunk are read where they are. Tiles read whole sides of them: not where much would be in vain.
    bool keys_lie_ready(const Chunk& chunk) const {
        if (!Simd::pairs) return numbers_.element == Element::float32 && !keys_.order && !keys_.bias;
        if (!keys_.paired_k) return false;
        int64_t in_vain = 0;
        for (int i = 0; tiled<Simd> && i < chunk.span_count; ++i)
            in_vain += whole_sides(chunk.spans[i].count) - chunk.spans[i].count;
        return 4 * in_vain <= chunk.keys;
    }

    // Likewise the values: a row of them serves two keys in pairs, 32 in tiles.
    bool values_lie_ready(const Chunk& chunk) const {
        if (!keys_.v) return false;
        if (!Simd::pairs) return keys_lie_ready(chunk);
        if (!keys_.paired_v) return false;
        constexpr int64_t row_keys = tiled<Simd> ? tile_keys : 2;
        for (int i = 0; i < chunk.span_count; ++i) {
            const Run& span = chunk.spans[i];
            if (span.start % row_keys || (span.count % row_keys && span.start + span.count < keys_.places)) return false;
        }
        return true;
    }

    void set_pieces(Chunk& chunk) const {
        const bool own = !Simd::pairs;  // the tensors themselves
        chunk.k.ready = keys_lie_ready(chunk);
        chunk.v.ready = values_lie_ready(chunk);
        chunk.k.stride = chunk.k.ready && own ? keys_.k_stride : row_operands<Simd>(numbers_.head_dim);
        chunk.v.stride = chunk.v.ready && own ? keys_.v_stride
                         : paired_values_     ? row_values<Simd>(numbers_.head_dim)
                                              : numbers_.head_dim;
        chunk.k.count = chunk.v.count = 0;
        const float* const k = own ? static_cast<const float*>(keys_.k) : keys_.paired_k;
        const float* const v = own ? static_cast<const float*>(keys_.v) : keys_.paired_v;
        for (int i = 0; i < chunk.span_count; ++i) {
            const Run& span = chunk.spans[i];
            if (chunk.k.ready) chunk.k.at[chunk.k.count++] = {k + span.start * chunk.k.stride, span.count};
            if (chunk.v.ready)
                chunk.v.at[chunk.v.count++] = {v + operands<Simd>(span.start) * chunk.v.stride, span.count};
        }
    }

    void widen_row(const void* x, int64_t first, float* row) const {
        widen(x, numbers_.element, first, numbers_.head_dim, row);
    }

    void copy_keys(const int64_t* tokens, int64_t count, float* k) const {
        const int head_dim = numbers_.head_dim;
        const bool wide = numbers_.element == Element::float32;
        const int64_t filled = operands<Simd>(head_dim), row = row_operands<Simd>(head_dim);
        for (int64_t i = 0; i < count; ++i, k += row) {
            if constexpr (Simd::pairs)
                copy_pairs<Simd>(keys_.k, wide, tokens[i] * keys_.k_stride, head_dim, k);
            else
                widen_row(keys_.k, tokens[i] * keys_.k_stride, k);
            if (tiled<Simd>) memset(k + filled, 0, sizeof(float) * (row - filled));
        }
    }

    void copy_values(const int64_t* tokens, int64_t count, float* v) const {
        if constexpr (Simd::pairs)
            if (paired_values_) return join_values<Simd>(tokens, count, v);
        for (int64_t i = 0; i < count; ++i) widen_row(keys_.v, tokens[i] * keys_.v_stride, v + i * numbers_.head_dim);
    }

    // Values of two keys become a row of pairs; those of a last one alone are paired with zeros.
    template <class S>
    void join_values(const int64_t* tokens, int64_t count, float* v) const {
        const auto join = [&](int64_t i, float* row) {
            const bool both = i + 1 < count;
            join_two<S>(keys_.v, numbers_.element == Element::float32, tokens[i] * keys_.v_stride,
                        tokens[both ? i + 1 : i] * keys_.v_stride, both, numbers_.head_dim, row);
        };
        if constexpr (tiled<S>)
            turn_values<S>(join, count, numbers_.head_dim, v);
        else
            for (int64_t i = 0; i < count; i += 2, v += numbers_.head_dim) join(i, v);
    }

    const KeyRuns& keys_;
    const Numbers& numbers_;
    float* space_;
    const bool paired_values_;
    int64_t run_ = 0;
    int64_t done_ = 0;
};

// Chunks of keys as they are copied, one after another, to where they stay.
inline void pair(const videosieve::PairTask& task, float*) {
    const int64_t k_row = row_operands<Simd>(task.numbers.head_dim), v_row = row_values<Simd>(task.numbers.head_dim);
    for (int64_t first = task.first; first < task.end; first += chunk_keys) {
        const Run run{first, task.end - first < chunk_keys ? task.end - first : chunk_keys};
        KeyRuns keys = task.keys;
        keys.runs = &run;
        keys.run_count = 1;
        Chunk chunk;
        Chunks chunks(keys, task.numbers, nullptr);
        chunks.next(chunk);
        chunks.copy(chunk, task.k + first * k_row, task.v + first / 2 * v_row);
    }
}

// Floats that the pairs of all keys of a head take.
inline size_t paired_keys(int64_t keys, int head_dim) { return (keys + spare_rows) * row_operands<Simd>(head_dim); }
inline size_t paired_values(int64_t keys, int head_dim) {
    constexpr int64_t row_keys = tiled<Simd> ? tile_keys : 2;
    return (keys + row_keys - 1) / row_keys * (row_keys / 2) * row_values<Simd>(head_dim);
}

// Calls work(chunk, prefetch of the next chunk) for every chunk.
template <class Work>
inline void for_chunks(Chunks& chunks, int panels, const Work& work) {
    Chunk chunk[2];
    for (bool more = chunks.next(chunk[0]), odd = false; more; odd = !odd) {
        chunks.fill(chunk[odd]);
        more = chunks.next(chunk[!odd]);
        Prefetch prefetch(chunk[!odd], chunks.keys(), chunks.numbers(), panels);
        work(chunk[odd], prefetch);
    }
}

}  // namespace
