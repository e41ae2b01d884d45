// Variance and covariance of the tokens of blocks.
#pragma once

#include "pools.hpp"

namespace {

using videosieve::MomentsTask;

constexpr int y_at_once = 4;  // values of y whose sums stay in registers

size_t moments_scratch(int head_dim, int y_dim) {
    const size_t x = padded(head_dim), y = y_dim ? padded(y_dim) : 0;
    return TokenBlock::space(head_dim) + (y_dim ? TokenBlock::space(y_dim) : 0) + x * (2 + static_cast<size_t>(y_dim)) + y +
           Space::slack;
}

// Adds the products of what x lacks to its mean with what Y values of y lack to theirs: Y rows of sums [width].
template <int Y>
inline void add_products(const float* const* x, const float* const* y, int count, const float* x_mean, const float* y_mean,
                         int width, float* sums) {
    for (int d = 0; d < width; d += Simd::lanes) {
        const Simd::Vector middle = Simd::load(x_mean + d);
        Simd::Vector total[Y];
        for (int j = 0; j < Y; ++j) total[j] = Simd::load(sums + j * width + d);
        for (int i = 0; i < count; ++i) {
            const Simd::Vector off = Simd::subtract(Simd::load(x[i] + d), middle);
            for (int j = 0; j < Y; ++j) total[j] = Simd::multiply_add(off, Simd::set(y[i][j] - y_mean[j]), total[j]);
        }
        for (int j = 0; j < Y; ++j) Simd::store(sums + j * width + d, total[j]);
    }
}

inline void store_share(const float* sums, float share, int count, float* to) {
    for (int d = 0; d < count; ++d) to[d] = sums[d] * share;
}

// Means first, then products of deviations, over what the first pass brought into the cache.
void moments(const MomentsTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim, y_dim = task.y_dim;
    Numbers of_y = task.numbers;
    of_y.head_dim = y_dim ? y_dim : 1;
    Space space(scratch);
    const TokenBlock x(task.x, task.numbers, space);
    const int width = x.width();
    float *x_mean = space.take(width), *squares = space.take(width);
    float* products = space.take(static_cast<size_t>(width) * (y_dim ? y_dim : 0));
    const auto measure = [&](int64_t block, const TokenBlock* y, float* y_mean) {
        const int64_t first = task.offsets[block], end = task.offsets[block + 1];
        mean_token(x, first, end, x_mean);
        if (y) mean_token(*y, first, end, y_mean);
        memset(squares, 0, sizeof(float) * width);
        memset(products, 0, sizeof(float) * width * y_dim);
        for (int64_t at = first; at < end; at += tokens_at_once) {
            const float *rows[tokens_at_once], *others[tokens_at_once];
            const int count = static_cast<int>(end - at < tokens_at_once ? end - at : tokens_at_once);
            x.load(at, count, rows);
            for_vectors<8>(width, AddSquares{rows, count, x_mean, squares});
            if (!y) continue;
            y->load(at, count, others);
            int j = 0;
            for (; j + y_at_once <= y_dim; j += y_at_once) {
                add_products<y_at_once>(rows, others, count, x_mean, y_mean + j, width, products + j * width);
                for (int i = 0; i < count; ++i) others[i] += y_at_once;
            }
            for (; j < y_dim; ++j) {
                add_products<1>(rows, others, count, x_mean, y_mean + j, width, products + j * width);
                for (int i = 0; i < count; ++i) ++others[i];
            }
        }
        const float share = first < end ? 1.0f / static_cast<float>(end - first) : 0.0f;
        store_share(squares, share, head_dim, task.variances + block * head_dim);
        for (int j = 0; j < y_dim; ++j)
            store_share(products + j * width, share, head_dim, task.covariances + (block * y_dim + j) * head_dim);
    };
    if (y_dim == 0) {
        for (int64_t block = 0; block < task.blocks; ++block) measure(block, nullptr, nullptr);
        return;
    }
    const TokenBlock y(task.y, of_y, space);
    float* y_mean = space.take(y.width());
    for (int64_t block = 0; block < task.blocks; ++block) measure(block, &y, y_mean);
}

}  // namespace
