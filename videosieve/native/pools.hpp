// Mean token and spread of blocks.
#pragma once

#include "rows.hpp"

namespace {

using videosieve::PoolTask;

// Whole vectors that hold head_dim values; the rest of the last one stays zero.
inline int padded(int head_dim) { return (head_dim + Simd::lanes - 1) / Simd::lanes * Simd::lanes; }

constexpr int tokens_at_once = 64;

// Tokens of a head by place, as fp32 rows of whole vectors: where they lie, or copies that end with zeros.
class TokenBlock {
  public:
    TokenBlock(const QueryRows& tokens, const Numbers& numbers, Space& space)
        : tokens_(tokens),
          numbers_(numbers),
          width_(padded(numbers.head_dim)),
          direct_(numbers.element == Element::float32 && width_ == numbers.head_dim),
          copy_(space.take(static_cast<size_t>(tokens_at_once) * width_)) {
        memset(copy_, 0, sizeof(float) * tokens_at_once * width_);
    }
    static size_t space(int head_dim) { return static_cast<size_t>(tokens_at_once) * padded(head_dim); }
    int width() const { return width_; }

    // The rows of at most tokens_at_once places from `first` on.
    void load(int64_t first, int count, const float** rows) const {
        for (int i = 0; i < count; ++i) {
            const int64_t token = tokens_.order ? tokens_.order[first + i] : first + i;
            rows[i] = direct_ ? static_cast<const float*>(tokens_.data) + token * tokens_.stride : copy_ + i * width_;
            if (!direct_)
                widen(tokens_.data, numbers_.element, token * tokens_.stride, numbers_.head_dim, copy_ + i * width_);
        }
    }

  private:
    const QueryRows& tokens_;
    const Numbers& numbers_;
    int width_;
    bool direct_;
    float* copy_;
};

// Calls work(rows, count) for the places [first, end), a few at a time.
template <class Work>
inline void for_tokens(const TokenBlock& block, int64_t first, int64_t end, const Work& work) {
    const float* rows[tokens_at_once];
    for (; first < end; first += tokens_at_once) {
        const int count = static_cast<int>(end - first < tokens_at_once ? end - first : tokens_at_once);
        block.load(first, count, rows);
        work(rows, count);
    }
}

// Calls work<V>(d) with V vectors from value d on, until all values have had their turn: sums stay in registers.
template <int Most, class Work>
inline __attribute__((always_inline)) void for_vectors(int width, const Work& work, int d = 0) {
    for (; d + Most * Simd::lanes <= width; d += Most * Simd::lanes) work.template operator()<Most>(d);
    if constexpr (Most > 1)
        if (d < width) for_vectors<Most / 2>(width, work, d);
}

struct AddRows {
    const float* const* rows;
    int count;
    float* sum;

    template <int V>
    inline __attribute__((always_inline)) void operator()(int d) const {
        Simd::Vector total[V];
        for (int j = 0; j < V; ++j) total[j] = Simd::load(sum + d + j * Simd::lanes);
        for (int i = 0; i < count; ++i)
            for (int j = 0; j < V; ++j) total[j] = Simd::add(total[j], Simd::load(rows[i] + d + j * Simd::lanes));
        for (int j = 0; j < V; ++j) Simd::store(sum + d + j * Simd::lanes, total[j]);
    }
};

// Adds squares of distances from the mean to a vector per vector of values.
struct AddSquares {
    const float* const* rows;
    int count;
    const float* mean;
    float* sum;

    template <int V>
    inline __attribute__((always_inline)) void operator()(int d) const {
        Simd::Vector total[V], middle[V];
        for (int j = 0; j < V; ++j) {
            total[j] = Simd::load(sum + d + j * Simd::lanes);
            middle[j] = Simd::load(mean + d + j * Simd::lanes);
        }
        for (int i = 0; i < count; ++i)
            for (int j = 0; j < V; ++j) {
                const Simd::Vector off = Simd::subtract(Simd::load(rows[i] + d + j * Simd::lanes), middle[j]);
                total[j] = Simd::multiply_add(off, off, total[j]);
            }
        for (int j = 0; j < V; ++j) Simd::store(sum + d + j * Simd::lanes, total[j]);
    }
};

// Mean of the tokens at places [first, end) [width]; zeros where there are none.
inline void mean_token(const TokenBlock& block, int64_t first, int64_t end, float* mean) {
    memset(mean, 0, sizeof(float) * block.width());
    for_tokens(block, first, end, [&](const float* const* rows, int count) {
        for_vectors<8>(block.width(), AddRows{rows, count, mean});
    });
    const Simd::Vector share = Simd::set(first < end ? 1.0f / static_cast<float>(end - first) : 0.0f);
    for (int d = 0; d < block.width(); d += Simd::lanes) Simd::store(mean + d, Simd::multiply(Simd::load(mean + d), share));
}

size_t pool_scratch(int head_dim) {
    return TokenBlock::space(head_dim) + 2 * static_cast<size_t>(padded(head_dim)) + Space::slack;
}

// Two passes over a block, the second over what the first brought into the cache: deviations from the mean do not
// cancel the way a difference of squares does.
void pool(const PoolTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim;
    Space space(scratch);
    const TokenBlock block(task.tokens, task.numbers, space);
    const int width = block.width();
    float *mean = space.take(width), *squares = space.take(width);
    for (int64_t i = 0; i < task.blocks; ++i) {
        const int64_t first = task.offsets[i], end = task.offsets[i + 1];
        mean_token(block, first, end, mean);
        memset(squares, 0, sizeof(float) * width);
        for_tokens(block, first, end, [&](const float* const* rows, int count) {
            for_vectors<8>(width, AddSquares{rows, count, mean, squares});
        });
        Simd::Vector sum = Simd::zero();
        for (int d = 0; d < width; d += Simd::lanes) sum = Simd::add(sum, Simd::load(squares + d));
        task.spreads[i] = first < end ? sum_lanes(sum) / static_cast<float>(end - first) : 0.0f;
        narrow(mean, task.means, task.numbers.element, i * head_dim, head_dim);
    }
}

}  // namespace
