// The kept keys of a task, a chunk at a time, and the memory of the next chunk on its way while one is worked on.
#pragma once

#include "rows.hpp"

namespace {

using videosieve::KeyRuns;
using videosieve::Numbers;
using videosieve::Run;

constexpr int chunk_keys = 128;  // keys whose weights are held at a time

// Keys and values that lie next to one another.
struct Piece {
    const float* k;
    const float* v;  // null where a task needs none
    int64_t count;
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
    float bias[chunk_keys];  // of every key, in units of log 2, where the keys have one
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
            fetch(piece.k + row_ * chunk_.k_stride);
            if (piece.v) fetch(piece.v + row_ * chunk_.v_stride);
            if (++row_ == piece.count) {
                row_ = 0;
                ++piece_;
            }
        }
    }

  private:
    void fetch(const float* row) const {
        for (int byte = 0; byte < bytes_; byte += 64)
            __builtin_prefetch(reinterpret_cast<const char*>(row) + byte, 0, 2);
    }

    const Chunk& chunk_;
    int bytes_;
    int share_;
    int pieces_;
    int piece_ = 0;
    int64_t row_ = 0;
};

// Walks runs in chunks. Keys and values of two bytes, out of order or with a bias, are copied into `space`, which holds
// two chunks: the one that is worked on and the next.
class Chunks {
  public:
    Chunks(const KeyRuns& keys, const Numbers& numbers, float* space)
        : keys_(keys), numbers_(numbers), space_(space) {}

    static size_t space(int head_dim) { return 4 * static_cast<size_t>(chunk_keys) * head_dim; }

    // Fills the chunk that comes next; false after the last.
    bool next(Chunk& chunk) {
        const int head_dim = numbers_.head_dim;
        chunk.direct = numbers_.element == Element::float32 && !keys_.order && !keys_.bias;
        chunk.piece_count = 0;
        chunk.span_count = 0;
        chunk.keys = 0;
        chunk.k_stride = chunk.direct ? keys_.k_stride : head_dim;
        chunk.v_stride = chunk.direct ? keys_.v_stride : head_dim;
        odd_ = !odd_;
        float* k = space_ + (odd_ ? space(head_dim) / 2 : 0);
        float* v = keys_.v ? k + static_cast<size_t>(chunk_keys) * head_dim : nullptr;
        while (chunk.keys < chunk_keys && run_ < keys_.run_count) {
            const Run& run = keys_.runs[run_];
            const int64_t left = run.count - done_, room = chunk_keys - chunk.keys;
            const int64_t count = left < room ? left : room, first = run.start + done_;
            chunk.spans[chunk.span_count++] = {first, count};
            if (chunk.direct)
                chunk.pieces[chunk.piece_count++] = {
                    static_cast<const float*>(keys_.k) + first * keys_.k_stride,
                    keys_.v ? static_cast<const float*>(keys_.v) + first * keys_.v_stride : nullptr, count};
            else
                copy_rows(first, count, k + chunk.keys * head_dim, v ? v + chunk.keys * head_dim : nullptr);
            for (int64_t i = 0; keys_.bias && i < count; ++i)
                chunk.bias[chunk.keys + i] = keys_.bias[first + i] * log2_of_e;
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
    void copy_rows(int64_t first, int64_t count, float* k, float* v) const {
        const int head_dim = numbers_.head_dim;
        for (int64_t i = 0; i < count; ++i) {
            const int64_t token = keys_.order ? keys_.order[first + i] : first + i;
            widen(keys_.k, numbers_.element, token * keys_.k_stride, head_dim, k + i * head_dim);
            if (v) widen(keys_.v, numbers_.element, token * keys_.v_stride, head_dim, v + i * head_dim);
        }
    }

    const KeyRuns& keys_;
    const Numbers& numbers_;
    float* space_;
    int64_t run_ = 0;
    int64_t done_ = 0;
    bool odd_ = false;
};

// Calls work(chunk, prefetch of the next chunk) for every chunk.
template <class Work>
inline void for_chunks(Chunks& chunks, int head_dim, int panels, const Work& work) {
    Chunk chunk[2];
    for (bool more = chunks.next(chunk[0]), odd = false; more; odd = !odd) {
        more = chunks.next(chunk[!odd]);
        Prefetch prefetch(chunk[!odd], head_dim, panels);
        work(chunk[odd], prefetch);
    }
}

}  // namespace
