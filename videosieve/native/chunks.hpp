// The kept keys of a task, a chunk at a time, and the memory of the next chunk on its way while one is worked on.
#pragma once

#include "rows.hpp"

namespace {

using videosieve::KeyRuns;
using videosieve::Numbers;
using videosieve::Run;

constexpr int chunk_keys = 128;  // keys whose weights are held at a time

// Keys and values that lie next to one another. Paired, a row of k holds operands(head_dim) pairs of neighbours, a row of v
// head_dim pairs of two keys.
struct Piece {
    const float* k;
    const float* v;  // null where a task needs none
    int64_t count;   // of keys
};

struct Chunk {
    Piece pieces[chunk_keys];
    int piece_count;
    int64_t keys;
    int64_t k_stride;
    int64_t v_stride;
    Run spans[chunk_keys];  // places of the keys, ascending
    int span_count;
    bool direct;  // read where the caller keeps them, not from a copy
    float factor;  // that makes scores of sums of products, as in `scored`
    float bias[chunk_keys];  // of every key, in units of log 2, where the keys have one
};

// Asks for the keys and values of a later chunk, a few rows at a time, while an earlier one is worked on.
class Prefetch {
  public:
    // `share`: how many panels walk the earlier chunk.
    Prefetch(const Chunk& chunk, const KeyRuns& keys, const Numbers& numbers, int share)
        : chunk_(chunk), order_(keys.order), share_(share) {
        const bool paired = Simd::pairs && chunk.direct;
        const int64_t value_bytes = numbers.element == Element::float32 && !paired ? 4 : 2;
        bytes_ = numbers.head_dim * value_bytes;
        k_ = static_cast<const char*>(paired ? keys.paired_k : keys.k);
        v_ = static_cast<const char*>(paired ? keys.paired_v : keys.v);
        k_stride_ = paired ? operands<Simd>(numbers.head_dim) * 4 : keys.k_stride * value_bytes;
        v_stride_ = paired ? bytes_ : keys.v_stride * value_bytes;  // a row of pairs serves two keys
        if (paired) order_ = nullptr;
    }

    void follow(int rows) {
        for (rows = (rows + share_ - 1) / share_; rows > 0 && span_ < chunk_.span_count; --rows) {
            const Run& span = chunk_.spans[span_];
            const int64_t place = span.start + row_, token = order_ ? order_[place] : place;
            fetch(k_ + token * k_stride_);
            if (v_) fetch(v_ + token * v_stride_);
            if (++row_ == span.count) {
                row_ = 0;
                ++span_;
            }
        }
    }

  private:
    void fetch(const char* row) const {
        for (int64_t byte = 0; byte < bytes_; byte += 64) __builtin_prefetch(row + byte, 0, 2);
    }

    const Chunk& chunk_;
    const char* k_;
    const char* v_;
    const int64_t* order_;
    int64_t k_stride_;  // in bytes
    int64_t v_stride_;
    int64_t bytes_;  // of a row
    int share_;
    int span_ = 0;
    int64_t row_ = 0;
};

// Walks runs in chunks. Keys and values of two bytes, out of order or with a bias, are copied into `space` before they are
// worked on, when a prefetch has brought them near. Pairs that were made beforehand are read where they lie, unless an odd
// span puts values beside others than those that they were paired with.
class Chunks {
  public:
    // `paired_values`: whether values are paired as well, where keys are.
    Chunks(const KeyRuns& keys, const Numbers& numbers, float* space, bool paired_values = Simd::pairs)
        : keys_(keys), numbers_(numbers), space_(space), paired_values_(paired_values) {}

    static size_t space(int head_dim) { return 2 * static_cast<size_t>(chunk_keys) * head_dim; }

    const KeyRuns& keys() const { return keys_; }
    const Numbers& numbers() const { return numbers_; }

    // Sets out what the chunk that comes next holds; false after the last.
    bool next(Chunk& chunk) {
        chunk.factor = sum_factor(numbers_, log2_of_e);
        chunk.piece_count = 0;
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
        if (chunk.direct) return;
        float* const v = keys_.v ? space_ + static_cast<size_t>(chunk_keys) * numbers_.head_dim : nullptr;
        chunk.pieces[0] = {space_, v, chunk.keys};
        chunk.piece_count = 1;
        copy(chunk, space_, v);
    }

    void copy(const Chunk& chunk, float* k, float* v) const {
        int64_t tokens[chunk_keys + 1], count = 0;
        for (int i = 0; i < chunk.span_count; ++i)
            for (int64_t place = chunk.spans[i].start; place < chunk.spans[i].start + chunk.spans[i].count; ++place)
                tokens[count++] = keys_.order ? keys_.order[place] : place;
        copy_keys(tokens, count, k);
        if (v && paired_values_)
            join_values(tokens, count, v);
        else if (v)
            for (int64_t i = 0; i < count; ++i) widen_row(keys_.v, tokens[i] * keys_.v_stride, v + i * numbers_.head_dim);
    }

  private:
    // Whether the chunk is read where the caller has it.
    bool lies_ready(const Chunk& chunk) const {
        if (!Simd::pairs) return numbers_.element == Element::float32 && !keys_.order && !keys_.bias;
        if (!keys_.paired_k) return false;
        for (int i = 0; i < chunk.span_count; ++i) {
            const Run& span = chunk.spans[i];
            if (span.start % 2 || (span.count % 2 && span.start + span.count < keys_.places)) return false;
        }
        return true;
    }

    void set_pieces(Chunk& chunk) const {
        const int64_t row = operands<Simd>(numbers_.head_dim);
        const bool own = !Simd::pairs;  // the tensors themselves
        chunk.direct = lies_ready(chunk);
        chunk.k_stride = chunk.direct && own ? keys_.k_stride : row;
        chunk.v_stride = chunk.direct && own ? keys_.v_stride : numbers_.head_dim;
        if (!chunk.direct) return;
        const float* const k = own ? static_cast<const float*>(keys_.k) : keys_.paired_k;
        const float* const v = own ? static_cast<const float*>(keys_.v) : keys_.paired_v;
        for (int i = 0; i < chunk.span_count; ++i) {
            const Run& span = chunk.spans[i];
            chunk.pieces[chunk.piece_count++] = {k + span.start * chunk.k_stride,
                                                 v ? v + operands<Simd>(span.start) * chunk.v_stride : nullptr,
                                                 span.count};
        }
    }

    void widen_row(const void* x, int64_t first, float* row) const {
        widen(x, numbers_.element, first, numbers_.head_dim, row);
    }

    void copy_keys(const int64_t* tokens, int64_t count, float* k) const {
        const int head_dim = numbers_.head_dim;
        const bool wide = numbers_.element == Element::float32;
        for (int64_t i = 0; i < count; ++i, k += operands<Simd>(head_dim)) {
            if constexpr (Simd::pairs)
                copy_pairs<Simd>(keys_.k, wide, tokens[i] * keys_.k_stride, head_dim, k);
            else
                widen_row(keys_.k, tokens[i] * keys_.k_stride, k);
        }
    }

    // Values of two keys become a row of pairs; those of a last one alone are paired with zeros.
    void join_values(const int64_t* tokens, int64_t count, float* v) const {
        if constexpr (Simd::pairs)
            for (int64_t i = 0; i < count; i += 2, v += numbers_.head_dim) {
                const bool both = i + 1 < count;
                join_two<Simd>(keys_.v, numbers_.element == Element::float32, tokens[i] * keys_.v_stride,
                               tokens[both ? i + 1 : i] * keys_.v_stride, both, numbers_.head_dim, v);
            }
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
    const int64_t row = operands<Simd>(task.numbers.head_dim);
    for (int64_t first = task.first; first < task.end; first += chunk_keys) {
        const Run run{first, task.end - first < chunk_keys ? task.end - first : chunk_keys};
        KeyRuns keys = task.keys;
        keys.runs = &run;
        keys.run_count = 1;
        Chunk chunk;
        Chunks chunks(keys, task.numbers, nullptr);
        chunks.next(chunk);
        chunks.copy(chunk, task.k + first * row, task.v + first / 2 * task.numbers.head_dim);
    }
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
