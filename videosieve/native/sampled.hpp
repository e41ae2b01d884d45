// Attention of sampled queries over all keys and, from the same scores, over the keys that each mask keeps.
#pragma once

#include "attention.hpp"

namespace {

size_t sampled_scratch(int head_dim, int masks) {
    const size_t d = head_dim, q = d * full_width;
    return most_panels * (q + (1 + static_cast<size_t>(masks)) * (Softmax::floats(head_dim) + 48)) +
           2 * chunk_keys * full_width + Chunks::space(head_dim) + 4 * d + Space::slack;
}

// The masks first, each on a copy of the scores; then all keys, on the scores themselves.
template <int Vectors>
void sample_chunk(const SampledTask& task, const Chunk& chunk, int64_t first_key, int64_t first_query, const float* q,
                  float* scores, float* copy, const Softmax* softmax, Prefetch& prefetch) {
    constexpr int width = Vectors * Simd::lanes;
    const int head_dim = task.numbers.head_dim;
    Simd::Vector largest[Vectors], kept_largest[Vectors];
    for (int j = 0; j < Vectors; ++j) largest[j] = Simd::load(softmax[0].largest + j * Simd::lanes);
    score_chunk<Vectors>(chunk, q, head_dim, scores, largest, prefetch);
    for (int m = 0; m < task.mask_count; ++m) {
        const Softmax& masked = softmax[1 + m];
        for (int j = 0; j < Vectors; ++j) kept_largest[j] = Simd::load(masked.largest + j * Simd::lanes);
        for (int64_t key = 0; key < chunk.keys; ++key) {
            const uint8_t* mask = task.masks[m] + (first_key + key) * task.mask_strides[m] + first_query;
            for (int j = 0; j < Vectors; ++j) {
                const int64_t at = key * width + j * Simd::lanes;
                const Simd::Vector kept = Simd::keep(Simd::load(scores + at), mask + j * Simd::lanes);
                kept_largest[j] = Simd::largest(kept_largest[j], kept);
                Simd::store(copy + at, kept);
            }
        }
        add_chunk<Vectors>(chunk, copy, head_dim, kept_largest, masked);
    }
    add_chunk<Vectors>(chunk, scores, head_dim, largest, softmax[0]);
}

// The softmax states of a panel lie one after another in `states`.
void sample_panel(const SampledTask& task, int64_t first_query, float* scratch) {
    const Numbers& numbers = task.numbers;
    const int head_dim = numbers.head_dim, variants = 1 + task.mask_count;
    const int width = panel_width(task.queries.count - first_query);
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    float* scores = space.take(static_cast<size_t>(chunk_keys) * full_width);
    float* copy = space.take(static_cast<size_t>(chunk_keys) * full_width);
    float* q = space.take(static_cast<size_t>(head_dim) * full_width);
    float* chunk_space = space.take(Chunks::space(head_dim));
    Softmax softmax[1 + videosieve::most_masks];
    for (int i = 0; i < variants; ++i) softmax[i] = Softmax(space, head_dim);
    load_panel(task.queries, first_query, numbers.element, head_dim, numbers.scale * log2_of_e, q, width, rows);
    Chunks chunks(task.keys, numbers, chunk_space);
    int64_t first_key = 0;
    for_chunks(chunks, head_dim, 1, [&](const Chunk& chunk, Prefetch& prefetch) {
        if (width == full_width)
            sample_chunk<Simd::vectors>(task, chunk, first_key, first_query, q, scores, copy, softmax, prefetch);
        else
            sample_chunk<1>(task, chunk, first_key, first_query, q, scores, copy, softmax, prefetch);
        first_key += chunk.keys;
    });
    for (int i = 0; i < variants; ++i)
        store_output(numbers, softmax[i], first_query, task.queries.count, width, Element::float32,
                     task.output + i * task.output_stride, task.lse + i * task.lse_stride, rows);
}

void sampled(const SampledTask& task, float* scratch) {
    for (int64_t first = 0; first < task.queries.count; first += full_width) sample_panel(task, first, scratch);
}

}  // namespace
