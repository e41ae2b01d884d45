// How much softmax mass the queries of a block give to centroids.
#pragma once

#include "attention.hpp"

namespace {

using videosieve::CentroidMassTask;

size_t centroid_mass_scratch(int head_dim, int64_t keys) {
    const size_t d = head_dim;
    return panel_rows<Simd>(head_dim) * full_width +
           static_cast<size_t>(keys + spare_rows) * (full_width + Simd::lanes + 1) + Chunks::space(head_dim) + 4 * d +
           Space::slack;
}

// Memory of one task.
struct MassSpace {
    float* q;       // [panel_rows(head_dim), width]
    float* bias;    // [keys], in units of log 2
    float* scores;  // [keys, width]
    float* sums;    // [keys, lanes]
    float* copies;
};

// Adds the softmax of one panel over all keys to a vector per key; only the first `queries` lanes count.
template <int Vectors>
void add_softmax(const CentroidMassTask& task, const MassSpace& at, int64_t queries) {
    constexpr int width = Vectors * Simd::lanes;
    const int head_dim = task.numbers.head_dim;
    Simd::Vector largest[Vectors], total[Vectors], share[Vectors];
    for (int j = 0; j < Vectors; ++j) {
        largest[j] = Simd::set(-INFINITY);
        total[j] = Simd::zero();
    }
    Chunks chunks(task.keys, task.numbers, at.copies);
    int64_t keys = 0;
    for_chunks(chunks, 1, [&](const Chunk& chunk, Prefetch& prefetch) {
        score_chunk<Vectors, true>(chunk, at.q, head_dim, at.scores + keys * width, largest, prefetch, at.bias + keys);
        keys += chunk.keys;
    });
    for (int j = 0; j < Vectors; ++j) largest[j] = Simd::finite_or_zero(largest[j]);
    for (int64_t key = 0; key < keys; ++key)
        for (int j = 0; j < Vectors; ++j) {
            float* score = at.scores + key * width + j * Simd::lanes;
            const Simd::Vector weight = Simd::exp2(Simd::subtract(Simd::load(score), largest[j]));
            total[j] = Simd::add(total[j], weight);
            Simd::store(score, weight);
        }
    for (int j = 0; j < Vectors; ++j) {
        float lanes[Simd::lanes];
        Simd::store(lanes, total[j]);
        for (int i = 0; i < Simd::lanes; ++i)
            lanes[i] = j * Simd::lanes + i < queries && lanes[i] != 0.0f ? 1.0f / lanes[i] : 0.0f;
        share[j] = Simd::load(lanes);
    }
    for (int64_t key = 0; key < keys; ++key) {
        Simd::Vector sum = Simd::load(at.sums + key * Simd::lanes);
        for (int j = 0; j < Vectors; ++j)
            sum = Simd::multiply_add(Simd::load(at.scores + key * width + j * Simd::lanes), share[j], sum);
        Simd::store(at.sums + key * Simd::lanes, sum);
    }
}

void centroid_mass(const CentroidMassTask& task, float* scratch) {
    const Numbers& numbers = task.numbers;
    const int head_dim = numbers.head_dim;
    const int64_t keys = task.keys.runs[0].count, queries = task.queries.count;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    MassSpace at;
    at.q = space.take(panel_rows<Simd>(head_dim) * full_width);
    at.bias = space.take(keys);
    at.scores = space.take(static_cast<size_t>(keys + spare_rows) * full_width);
    at.sums = space.take(static_cast<size_t>(keys) * Simd::lanes);
    at.copies = space.take(Chunks::space(head_dim));
    for (int64_t key = 0; key < keys; ++key) at.bias[key] = task.bias[key] * log2_of_e;
    memset(at.sums, 0, sizeof(float) * keys * Simd::lanes);
    for (int64_t first = 0; first < queries; first += full_width) {
        const int64_t left = queries - first;
        load_panel(task.queries, first, numbers.element, head_dim, query_factor(numbers, log2_of_e), at.q,
                   panel_width(left), rows);
        if (panel_width(left) == full_width)
            add_softmax<Simd::vectors>(task, at, left);
        else
            add_softmax<1>(task, at, left);
    }
    for (int64_t key = 0; key < keys; ++key)
        task.mass[key] = queries ? sum_lanes(Simd::load(at.sums + key * Simd::lanes)) / static_cast<float>(queries) : 0.0f;
}

}  // namespace
