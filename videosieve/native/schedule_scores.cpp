// The calls that look at every pair of tokens: tasks are rows of blocks, all of about the same size.
#include <string.h>

#include <algorithm>

#include "schedule.hpp"
#include "tasks.hpp"
#include "threads.hpp"

namespace videosieve {

namespace {

constexpr int64_t sampled_queries = 32;          // of a task: few, because there are few in all
constexpr int64_t joined_bytes = 256 << 10;      // query cells of a task; they should stay in the second-level cache
constexpr int64_t cells_of_panel = 32;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void compute(const videosieve_sampled_call& call, const Kernels& kernels) {
    const Run all{0, call.keys};
    const int64_t parts = divide_up(call.queries, sampled_queries), rows = call.batch * call.heads * call.queries;
    const auto sample_part = [&](int64_t task, int, float* scratch) {
        const int64_t part = task % parts, head = task / parts, b = head / call.heads, h = head % call.heads;
        const int64_t first = part * sampled_queries, count = std::min(sampled_queries, call.queries - first);
        const uint8_t* masks[most_masks];
        int64_t strides[most_masks];
        for (int m = 0; m < call.mask_count; ++m) {
            const int64_t* stride = call.mask_strides[m];
            masks[m] = call.masks[m] + b * stride[0] + h * stride[1] + first * stride[2];
            strides[m] = stride[2];
        }
        const int64_t row = head * call.queries + first;
        kernels.sampled({numbers_of(call), queries_of(call, b, h, first, count), keys_of(call, &call.v, b, h, &all, 1),
                         masks, strides, call.mask_count, call.output + row * call.head_dim, call.lse + row,
                         rows * call.head_dim, rows},
                        scratch);
    };
    run_with_scratch(call.batch * call.heads * parts, crew_of(call),
                     rows * call.keys * call.head_dim * (2 + call.mask_count),
                     kernels.sampled_scratch(call.head_dim, call.mask_count), sample_part);
}

void compute(const videosieve_mass_call& call, const Kernels& kernels) {
    const Run all{0, call.keys};
    const int64_t rows = divide_up(call.queries, call.query_side), columns = divide_up(call.keys, call.key_side);
    const auto weigh_row = [&](int64_t task, int, float* scratch) {
        const int64_t row = task % rows, head = task / rows, b = head / call.heads, h = head % call.heads;
        float* mass = call.mass + task * columns;
        memset(mass, 0, sizeof(float) * columns);
        const int64_t end = std::min((row + 1) * call.query_side, call.queries);
        for (int64_t first = row * call.query_side; first < end; first += task_queries) {
            const int64_t count = std::min<int64_t>(task_queries, end - first);
            kernels.mass({numbers_of(call), queries_of(call, b, h, first, count),
                          keys_of(call, nullptr, b, h, &all, 1), call.lse + head * call.queries + first, call.key_side,
                          mass},
                         scratch);
        }
    };
    run_with_scratch(call.batch * call.heads * rows, crew_of(call),
                     call.batch * call.heads * call.queries * call.keys * call.head_dim,
                     kernels.mass_scratch(call.head_dim), weigh_row);
}

void compute(const videosieve_antidiagonal_call& call, const Kernels& kernels) {
    const int64_t rows = divide_up(call.queries, call.stride), columns = divide_up(call.keys, call.stride);
    const int64_t panel_bytes = cells_of_panel * call.stride * call.head_dim * static_cast<int64_t>(sizeof(float));
    const int64_t cells = cells_of_panel * std::clamp<int64_t>(joined_bytes / panel_bytes, 1, 4);
    const int64_t parts = divide_up(rows, cells);
    const auto score_part = [&](int64_t task, int, float* scratch) {
        const int64_t part = task % parts, head = task / parts, b = head / call.heads, h = head % call.heads;
        const int64_t first = part * cells, token = first * call.stride;
        kernels.antidiagonal({numbers_of(call), queries_of(call, b, h, token, call.queries - token),
                              {head_of(call.k, call.element, b, h), call.k.token_stride, call.keys},
                              static_cast<int32_t>(call.stride), static_cast<int32_t>(std::min(cells, rows - first)),
                              call.scores + (head * rows + first) * columns, columns},
                             scratch);
    };
    run_with_scratch(call.batch * call.heads * parts, crew_of(call),
                     call.batch * call.heads * rows * columns * call.stride * call.head_dim,
                     kernels.antidiagonal_scratch(call.head_dim, static_cast<int>(call.stride), static_cast<int>(cells)),
                     score_part);
}

void compute(const videosieve_antidiagonal_mass_call& call, const Kernels& kernels) {
    const int64_t cells = divide_up(call.queries, call.stride), columns = divide_up(call.keys, call.stride);
    const int64_t rows = divide_up(call.queries, call.side), blocks = divide_up(call.keys, call.side);
    const int64_t block_cells = call.side / call.stride;
    const int64_t ahead = divide_up(call.keys - call.queries, call.stride);  // key cells before the first query's
    const int64_t panel_bytes = cells_of_panel * call.stride * call.head_dim * static_cast<int64_t>(sizeof(float));
    const int64_t score_bytes = cells_of_panel * columns * static_cast<int64_t>(sizeof(float));
    const int64_t panels = std::clamp<int64_t>(std::min(joined_bytes / panel_bytes, joined_bytes / score_bytes), 1, 4);
    const int64_t rows_at_once = std::max<int64_t>(panels * cells_of_panel / block_cells, 1);
    const int64_t parts = divide_up(rows, rows_at_once);
    const auto weigh_part = [&](int64_t task, int, float* scratch) {
        const int64_t part = task % parts, head = task / parts, b = head / call.heads, h = head % call.heads;
        const int64_t row = part * rows_at_once, first = row * block_cells, token = row * call.side;
        const AntidiagonalTask mine{numbers_of(call), queries_of(call, b, h, token, call.queries - token),
                                    {head_of(call.k, call.element, b, h), call.k.token_stride, call.keys},
                                    static_cast<int32_t>(call.stride),
                                    static_cast<int32_t>(std::min(rows_at_once * block_cells, cells - first)), nullptr,
                                    columns};
        kernels.antidiagonal_mass({mine, static_cast<int32_t>(block_cells), static_cast<int32_t>(panels), blocks,
                                   call.causal ? first + ahead : columns, call.mass + (head * rows + row) * blocks},
                                  scratch);
    };
    run_with_scratch(call.batch * call.heads * parts, crew_of(call),
                     call.batch * call.heads * cells * columns * call.stride * call.head_dim,
                     kernels.antidiagonal_mass_scratch(call.head_dim, static_cast<int>(call.stride), columns,
                                                       static_cast<int>(panels)),
                     weigh_part);
}

}  // namespace videosieve
