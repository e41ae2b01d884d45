// Mean token and spread of blocks, and how much softmax mass the queries of a block give to centroids.
#pragma once

#include "attention.hpp"

namespace {

using videosieve::CentroidMassTask;
using videosieve::PoolTask;

// Whole vectors that hold head_dim values; the rest of the last one stays zero.
inline int padded(int head_dim) { return (head_dim + Simd::lanes - 1) / Simd::lanes * Simd::lanes; }

size_t pool_scratch(int head_dim) { return 2 * static_cast<size_t>(padded(head_dim)) + Space::slack; }

inline void load_token(const PoolTask& task, int64_t place, float* row) {
    const int64_t token = task.tokens.order ? task.tokens.order[place] : place;
    widen(task.tokens.data, task.numbers.element, token * task.tokens.stride, task.numbers.head_dim, row);
}

// Two passes over a block, the second over what the first brought into the cache: deviations from the mean do not
// cancel the way a difference of squares does.
void pool(const PoolTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim, width = padded(head_dim);
    Space space(scratch);
    float *row = space.take(width), *mean = space.take(width);
    memset(row, 0, sizeof(float) * width);
    for (int64_t block = 0; block < task.blocks; ++block) {
        const int64_t first = task.offsets[block], end = task.offsets[block + 1];
        memset(mean, 0, sizeof(float) * width);
        for (int64_t place = first; place < end; ++place) {
            load_token(task, place, row);
            for (int d = 0; d < width; d += Simd::lanes)
                Simd::store(mean + d, Simd::add(Simd::load(mean + d), Simd::load(row + d)));
        }
        const float share = first < end ? 1.0f / static_cast<float>(end - first) : 0.0f;
        for (int d = 0; d < width; d += Simd::lanes)
            Simd::store(mean + d, Simd::multiply(Simd::load(mean + d), Simd::set(share)));
        Simd::Vector sum = Simd::zero();
        for (int64_t place = first; place < end; ++place) {
            load_token(task, place, row);
            for (int d = 0; d < width; d += Simd::lanes) {
                const Simd::Vector off = Simd::subtract(Simd::load(row + d), Simd::load(mean + d));
                sum = Simd::multiply_add(off, off, sum);
            }
        }
        task.spreads[block] = sum_lanes(sum) * share;
        narrow(mean, task.means, task.numbers.element, block * head_dim, head_dim);
    }
}

size_t centroid_mass_scratch(int head_dim, int64_t keys) {
    const size_t d = head_dim;
    return d * full_width + static_cast<size_t>(keys) * (full_width + Simd::lanes + 1) + Chunks::space(head_dim) +
           4 * d + Space::slack;
}

// Memory of one task.
struct MassSpace {
    float* q;       // [head_dim, width]
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
    for_chunks(chunks, head_dim, 1, [&](const Chunk& chunk, Prefetch& prefetch) {
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
    at.q = space.take(static_cast<size_t>(head_dim) * full_width);
    at.bias = space.take(keys);
    at.scores = space.take(static_cast<size_t>(keys) * full_width);
    at.sums = space.take(static_cast<size_t>(keys) * Simd::lanes);
    at.copies = space.take(Chunks::space(head_dim));
    for (int64_t key = 0; key < keys; ++key) at.bias[key] = task.bias[key] * log2_of_e;
    memset(at.sums, 0, sizeof(float) * keys * Simd::lanes);
    for (int64_t first = 0; first < queries; first += full_width) {
        const int64_t left = queries - first;
        load_panel(task.queries, first, numbers.element, head_dim, numbers.scale * log2_of_e, at.q, panel_width(left),
                   rows);
        if (panel_width(left) == full_width)
            add_softmax<Simd::vectors>(task, at, left);
        else
            add_softmax<1>(task, at, left);
    }
    for (int64_t key = 0; key < keys; ++key)
        task.mass[key] = queries ? sum_lanes(Simd::load(at.sums + key * Simd::lanes)) / static_cast<float>(queries) : 0.0f;
}

}  // namespace
