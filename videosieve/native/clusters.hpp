// k-means: the nearest centroid of tokens, and the mean token of clusters.
#pragma once

#include "pools.hpp"

namespace {

using videosieve::ClusterMeanTask;
using videosieve::NearestTask;

// Keeps the largest of x·c − |c|²/2 over centroids, and the first centroid that has it: the nearest.
template <int Vectors>
struct NearestTiles {
    const float* centroids;
    const float* halves;
    const float* x;
    int head_dim;
    float* best;     // [width]
    float* nearest;  // [width]

    template <int Rows>
    inline __attribute__((always_inline)) void operator()(int64_t first) const {
        auto tile = zero_tile<Simd, Rows, Vectors>();
        multiply_tile<Simd, Rows, Vectors, false>(tile, centroids + first * head_dim, head_dim, x, head_dim);
        for (int j = 0; j < Vectors; ++j) {
            Simd::Vector most = Simd::load(best + j * Simd::lanes), label = Simd::load(nearest + j * Simd::lanes);
            for (int i = 0; i < Rows; ++i) {
                const Simd::Vector score = Simd::subtract(tile.at[i][j], Simd::set(halves[first + i]));
                label = Simd::where_greater(score, most, Simd::set(static_cast<float>(first + i)), label);
                most = Simd::where_greater(score, most, score, most);
            }
            Simd::store(best + j * Simd::lanes, most);
            Simd::store(nearest + j * Simd::lanes, label);
        }
    }
};

size_t nearest_scratch(int head_dim) {
    const size_t d = head_dim;
    return most_panels * (d + 2) * full_width + 4 * d + Space::slack;
}

constexpr int64_t centroids_at_once = 64;  // all panels pass over them while they are in the first cache

void nearest(const NearestTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim;
    const int64_t count = task.tokens.count;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    float *x[most_panels], *best[most_panels], *label[most_panels];
    int panels = 0;
    for (int64_t first = 0; first < count; first += full_width, ++panels) {
        x[panels] = space.take(static_cast<size_t>(head_dim) * full_width);
        best[panels] = space.take(full_width);
        label[panels] = space.take(full_width);
        load_panel(task.tokens, first, task.numbers.element, head_dim, 1.0f, x[panels], panel_width(count - first), rows);
        for (int i = 0; i < full_width; ++i) {
            best[panels][i] = -INFINITY;
            label[panels][i] = 0.0f;
        }
    }
    for (int64_t from = 0; from < task.clusters; from += centroids_at_once) {
        const int64_t end = from + centroids_at_once < task.clusters ? from + centroids_at_once : task.clusters;
        for (int i = 0; i < panels; ++i) {
            if (panel_width(count - i * full_width) == full_width)
                for_row_tiles<Simd::rows>(end, NearestTiles<Simd::vectors>{task.centroids, task.halves, x[i], head_dim,
                                                                           best[i], label[i]}, from);
            else
                for_row_tiles<Simd::rows>(end, NearestTiles<1>{task.centroids, task.halves, x[i], head_dim, best[i],
                                                               label[i]}, from);
        }
    }
    for (int64_t i = 0; i < count; ++i) task.labels[i] = static_cast<int32_t>(label[i / full_width][i % full_width]);
}

void cluster_means(const ClusterMeanTask& task, float* scratch) {
    const int head_dim = task.numbers.head_dim;
    Space space(scratch);
    TokenBlock block(task.tokens, task.numbers, space);
    float* mean = space.take(block.width());
    for (int64_t cluster = 0; cluster < task.clusters; ++cluster) {
        const int64_t first = task.offsets[cluster], end = task.offsets[cluster + 1];
        float* to = task.means + cluster * head_dim;
        if (first == end) {
            // One that is updated where it lies keeps what it has.
            if (to != task.centroids + cluster * head_dim)
                memcpy(to, task.centroids + cluster * head_dim, sizeof(float) * head_dim);
            continue;
        }
        mean_token(block, first, end, mean);
        memcpy(to, mean, sizeof(float) * head_dim);
    }
}

}  // namespace
