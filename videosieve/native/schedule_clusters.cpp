// k-means: tasks are stretches of tokens, then heads, then stretches of clusters.
#include <algorithm>
#include <vector>

#include "schedule.hpp"
#include "tasks.hpp"
#include "threads.hpp"

namespace videosieve {

namespace {

constexpr int64_t clusters_of_task = 16;

// Half of the square of every centroid.
std::vector<float> halves_of(const videosieve_cluster_call& call, const float* centroids) {
    std::vector<float> halves(call.batch * call.heads * call.clusters);
    for (size_t i = 0; i < halves.size(); ++i) {
        const float* centroid = centroids + i * call.head_dim;
        float sum = 0.0f;
        for (int32_t d = 0; d < call.head_dim; ++d) sum += centroid[d] * centroid[d];
        halves[i] = 0.5f * sum;
    }
    return halves;
}

// Tokens of one head by label, in ascending order inside a label, and where labels begin [clusters + 1].
void sort_by_label(const int32_t* labels, int64_t tokens, int64_t clusters, int64_t* order, int64_t* offsets) {
    std::fill(offsets, offsets + clusters + 1, 0);
    for (int64_t i = 0; i < tokens; ++i) ++offsets[labels[i] + 1];
    for (int64_t c = 0; c < clusters; ++c) offsets[c + 1] += offsets[c];
    for (int64_t i = 0; i < tokens; ++i) order[offsets[labels[i]]++] = i;
    for (int64_t c = clusters; c > 0; --c) offsets[c] = offsets[c - 1];
    offsets[0] = 0;
}

// Labels from `centroids`, and means, sizes, order and offsets of the call that belong to them.
void iterate(const videosieve_cluster_call& call, const float* centroids, const Kernels& kernels) {
    const int64_t heads = call.batch * call.heads, parts = (call.keys + task_queries - 1) / task_queries;
    const std::vector<float> halves = halves_of(call, centroids);
    const auto head_tokens = [&](int64_t head, int64_t first, int64_t count) {
        return QueryRows{head_of(call.x, call.element, head / call.heads, head % call.heads, first), call.x.token_stride,
                         count};
    };
    const auto label_part = [&](int64_t task, int, float* scratch) {
        const int64_t first = task % parts * task_queries, head = task / parts;
        kernels.nearest({numbers_of(call), head_tokens(head, first, std::min<int64_t>(task_queries, call.keys - first)),
                         centroids + head * call.clusters * call.head_dim, halves.data() + head * call.clusters,
                         call.clusters, call.labels + head * call.keys + first},
                        scratch);
    };
    const int64_t products = heads * call.keys * call.clusters * call.head_dim;
    run_with_scratch(heads * parts, crew_of(call), products, kernels.nearest_scratch(call.head_dim), label_part);
    const auto sort_head = [&](int64_t head, int, float*) {
        int64_t* edges = call.offsets + head * (call.clusters + 1);
        sort_by_label(call.labels + head * call.keys, call.keys, call.clusters, call.order + head * call.keys, edges);
        for (int64_t c = 0; c < call.clusters; ++c)
            call.sizes[head * call.clusters + c] = static_cast<int32_t>(edges[c + 1] - edges[c]);
    };
    run_with_scratch(heads, crew_of(call), heads * call.keys, 1, sort_head);
    const int64_t groups = (call.clusters + clusters_of_task - 1) / clusters_of_task;
    const auto average = [&](int64_t task, int, float* scratch) {
        const int64_t first = task % groups * clusters_of_task, head = task / groups;
        const int64_t at = (head * call.clusters + first) * call.head_dim;
        QueryRows tokens = head_tokens(head, 0, call.keys);
        tokens.order = call.order + head * call.keys;
        kernels.cluster_means({numbers_of(call), tokens, call.offsets + head * (call.clusters + 1) + first,
                               std::min(clusters_of_task, call.clusters - first), centroids + at, call.means + at},
                              scratch);
    };
    run_with_scratch(heads * groups, crew_of(call), heads * call.keys * call.head_dim, kernels.pool_scratch(call.head_dim),
                     average);
}

}  // namespace

void compute(const videosieve_cluster_call& call, const Kernels& kernels) {
    const float* centroids = call.centroids;
    for (int64_t i = 0; i < call.iterations; ++i, centroids = call.means) iterate(call, centroids, kernels);
}

}  // namespace videosieve
