// The calls about centroids: tasks are stretches of blocks, and rows of blocks.
#include <algorithm>

#include "schedule.hpp"
#include "tasks.hpp"
#include "threads.hpp"

namespace videosieve {

namespace {

constexpr int64_t pooled_blocks = 8;  // of a task

const int64_t* of_head(const int64_t* x, const int64_t* strides, int64_t b, int64_t h) {
    return x ? x + b * strides[0] + h * strides[1] : nullptr;
}

}  // namespace

void compute(const videosieve_pool_call& call, const Kernels& kernels) {
    const int64_t parts = (call.blocks + pooled_blocks - 1) / pooled_blocks;
    const auto pool_part = [&](int64_t task, int, float* scratch) {
        const int64_t part = task % parts, head = task / parts, b = head / call.heads, h = head % call.heads;
        const int64_t first = part * pooled_blocks, row = head * call.blocks + first;
        const QueryRows tokens{head_of(call.x, call.element, b, h), call.x.token_stride, call.keys,
                               of_head(call.order, call.order_strides, b, h)};
        kernels.pool({numbers_of(call), tokens, of_head(call.offsets, call.offset_strides, b, h) + first,
                      std::min(pooled_blocks, call.blocks - first), moved(call.means, call.element, row * call.head_dim),
                      call.spreads + row},
                     scratch);
    };
    run_with_scratch(call.batch * call.heads * parts, crew_of(call), 4 * call.batch * call.heads * call.keys * call.head_dim,
                     kernels.pool_scratch(call.head_dim), pool_part);
}

void compute(const videosieve_moments_call& call, const Kernels& kernels) {
    const int64_t parts = (call.blocks + pooled_blocks - 1) / pooled_blocks;
    const auto measure_part = [&](int64_t task, int, float* scratch) {
        const int64_t part = task % parts, head = task / parts, b = head / call.heads, h = head % call.heads;
        const int64_t first = part * pooled_blocks, at = (head * call.blocks + first) * call.head_dim;
        const int64_t* order = of_head(call.order, call.order_strides, b, h);
        const QueryRows x{head_of(call.x, call.element, b, h), call.x.token_stride, call.keys, order};
        const QueryRows y{call.y_dim ? head_of(call.y, call.element, b, h) : nullptr, call.y.token_stride, call.keys, order};
        kernels.moments({numbers_of(call), x, y, static_cast<int32_t>(call.y_dim),
                         of_head(call.offsets, call.offset_strides, b, h) + first,
                         std::min(pooled_blocks, call.blocks - first), call.variances + at,
                         call.y_dim ? call.covariances + at * call.y_dim : nullptr},
                        scratch);
    };
    const int64_t work = 2 * call.batch * call.heads * call.keys * call.head_dim * (2 + call.y_dim);
    run_with_scratch(call.batch * call.heads * parts, crew_of(call), work,
                     kernels.moments_scratch(call.head_dim, static_cast<int>(call.y_dim)), measure_part);
}

void compute(const videosieve_centroid_mass_call& call, const Kernels& kernels) {
    const Run all{0, call.keys};
    const auto weigh_row = [&](int64_t task, int, float* scratch) {
        const int64_t row = task % call.rows, head = task / call.rows, b = head / call.heads, h = head % call.heads;
        const int64_t* offsets = of_head(call.offsets, call.offset_strides, b, h) + row;
        const int64_t* order = of_head(call.order, call.order_strides, b, h);
        QueryRows queries = queries_of(call, b, h, order ? 0 : offsets[0], offsets[1] - offsets[0]);
        queries.order = order ? order + offsets[0] : nullptr;
        kernels.centroid_mass({numbers_of(call), queries, keys_of(call, nullptr, b, h, &all, 1),
                               call.log_sizes + b * call.log_size_strides[0] + h * call.log_size_strides[1],
                               call.mass + task * call.keys},
                              scratch);
    };
    run_with_scratch(call.batch * call.heads * call.rows, crew_of(call),
                     call.batch * call.heads * call.queries * call.keys * call.head_dim,
                     kernels.centroid_mass_scratch(call.head_dim, call.keys), weigh_row);
}

}  // namespace videosieve
