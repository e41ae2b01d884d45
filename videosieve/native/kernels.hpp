// What an instruction set has to offer: plain functions over plain structs, so that the translation units compiled for
// it share no inline function, template or allocation with the rest.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace videosieve {

enum class Element : int32_t { float32 = 0, bfloat16 = 1, float16 = 2 };

constexpr int most_head_dim = 256;
constexpr int most_masks = 8;    // of a sampled call
constexpr int most_stride = 1024;  // of cells
constexpr int64_t most_clusters = 1 << 24;  // fp32 counts them exactly

// Most queries of one task: enough to reuse a key block from the second-level cache, few enough to share out.
constexpr int task_queries = 128;

constexpr int64_t everything = INT64_MAX / 2;  // more keys than there are

constexpr int round_operations = 12;  // independent, so that they hide one another's latency

// Key tokens [start, start + count).
struct Run {
    int64_t start;
    int64_t count;
};

// What all tasks have in common.
struct Numbers {
    int32_t head_dim;
    Element element;  // of queries, keys and values
    float scale;
    bool pairs;       // whether products are of pairs of bf16, to which fp32 numbers are then rounded
};

// Queries of one head; stride in elements, head_dim contiguous. Query i lies at row order[i], or i where that is null.
struct QueryRows {
    const void* data;
    int64_t stride;
    int64_t count;
    const int64_t* order = nullptr;
};

// Keys of one head, and values where the task needs them, at the tokens of the runs.
struct KeyRuns {
    const void* k;
    const void* v;
    int64_t k_stride;
    int64_t v_stride;
    const Run* runs;
    int64_t run_count;
    const int64_t* order = nullptr;  // token of every place that the runs count; null where it is the place itself
    const float* bias = nullptr;     // of every place, added to its scores, natural log; null adds nothing
    // What PairTask made of all places; null where nothing has been paired beforehand.
    const float* paired_k = nullptr;
    const float* paired_v = nullptr;
    int64_t places = 0;  // of the head, where there are pairs
};

// Keys and values of a stretch of places as pairs of bf16: rows of keys, and rows of the values of two neighbours.
struct PairTask {
    Numbers numbers;
    KeyRuns keys;   // runs are not used
    int64_t first;  // an even place
    int64_t end;
    float* k;  // [places, pairs of head_dim]; rows of whole tiles where products are of tiles
    float* v;  // [pairs of places, head_dim]; turned, as turned.hpp says, where products are of tiles
};

// Attention of at most task_queries queries over the same keys.
struct AttentionTask {
    Numbers numbers;
    QueryRows queries;
    KeyRuns keys;
    void* output;  // [queries, head_dim], contiguous, of the same element; rows as those of the queries
    float* lse;    // [queries], likewise; over the keys
    KeyRuns centroids;              // under the same softmax, with a bias
    float* answered_lse = nullptr;  // [queries], over keys and centroids; null where there are no centroids
    int64_t seen = everything;      // the first query sees the keys at places below this, the next ones one more each
};

// Attention of at most task_queries queries over all keys, and again over the keys that each mask keeps.
struct SampledTask {
    Numbers numbers;
    QueryRows queries;
    KeyRuns keys;                  // one run, from 0
    const uint8_t* const* masks;   // each [queries, keys], 0 or 1; 0 drops the pair
    const int64_t* mask_strides;   // bytes from query to query
    int32_t mask_count;
    float* output;                 // [queries, head_dim] of all keys, then of every mask
    float* lse;                    // [queries] of all keys, then of every mask
    int64_t output_stride;         // floats from one of them to the next
    int64_t lse_stride;
};

// Adds Σ exp(scale · q·k − lse) over at most task_queries queries and the keys of every block to its mass.
struct MassTask {
    Numbers numbers;
    QueryRows queries;
    KeyRuns keys;        // one run, from 0; no values
    const float* lse;    // [queries]
    int64_t side;        // keys of a block
    float* mass;         // [blocks]
};

// scale · Σ q·k along the antidiagonals of query cells × all key cells; cells are `stride` tokens, tokens past the end 0.
struct AntidiagonalTask {
    Numbers numbers;
    QueryRows queries;   // from the first token of the first cell to the end of the head
    QueryRows keys;      // all keys of the head
    int32_t stride;
    int32_t cells;       // query cells of this task
    float* scores;       // [cells, columns]
    int64_t columns;
};

// Softmax over all key cells of what AntidiagonalTask scores, summed over the cells of blocks.
struct AntidiagonalMassTask {
    AntidiagonalTask cells;  // scores is not used; the first cell begins a block
    int32_t block_cells;     // cells of a side of a block
    int32_t panels;          // of query cells that are worked on together
    int64_t blocks;          // of the keys
    int64_t diagonal;        // the last key cell that the first query cell sees, the next one sees one more
    float* mass;             // [query blocks, key blocks], contiguous
};

// Nearest centroid of at most task_queries tokens, the first of equally near ones.
struct NearestTask {
    Numbers numbers;         // scale is not used
    QueryRows tokens;
    const float* centroids;  // [clusters, head_dim], contiguous
    const float* halves;     // [clusters], half of the square of each
    int64_t clusters;
    int32_t* labels;         // [tokens]
};

// Mean token of neighbouring clusters; one without tokens gets its centroid.
struct ClusterMeanTask {
    Numbers numbers;
    QueryRows tokens;        // all of the head, by cluster
    const int64_t* offsets;  // [clusters + 1], places
    int64_t clusters;
    const float* centroids;  // [clusters, head_dim]
    float* means;            // likewise
};

// Mean token and spread of neighbouring blocks.
struct PoolTask {
    Numbers numbers;
    QueryRows tokens;        // all of the head; count is not used
    const int64_t* offsets;  // [blocks + 1], places
    int64_t blocks;
    void* means;             // [blocks, head_dim], contiguous, of the same element
    float* spreads;          // [blocks]
};

// Variances and covariances of neighbouring blocks.
struct MomentsTask {
    Numbers numbers;         // head_dim is that of x
    QueryRows x;             // all of the head; count is not used
    QueryRows y;             // likewise, in the same order
    int32_t y_dim;
    const int64_t* offsets;  // [blocks + 1], places
    int64_t blocks;
    float* variances;        // [blocks, head_dim]
    float* covariances;      // [blocks, y_dim, head_dim]
};

// Mean over the queries of the softmax over all keys.
struct CentroidMassTask {
    Numbers numbers;
    QueryRows queries;  // any number
    KeyRuns keys;       // one run, from 0; no values
    const float* bias;  // [keys], natural log
    float* mass;        // [keys]
};

struct Kernels {
    const char* name;
    int lanes;
    bool pairs;  // whether it has products of pairs of bf16
    // Floats of aligned scratch that one thread needs for each.
    size_t (*attention_scratch)(int head_dim);
    size_t (*sampled_scratch)(int head_dim, int masks);
    size_t (*mass_scratch)(int head_dim);
    size_t (*antidiagonal_scratch)(int head_dim, int stride, int cells);
    size_t (*antidiagonal_mass_scratch)(int head_dim, int stride, int64_t columns, int panels);
    size_t (*nearest_scratch)(int head_dim);
    size_t (*pool_scratch)(int head_dim);
    size_t (*moments_scratch)(int head_dim, int y_dim);
    size_t (*centroid_mass_scratch)(int head_dim, int64_t keys);
    void (*attention)(const AttentionTask& task, float* scratch);
    void (*sampled)(const SampledTask& task, float* scratch);
    void (*mass)(const MassTask& task, float* scratch);
    void (*antidiagonal)(const AntidiagonalTask& task, float* scratch);
    void (*antidiagonal_mass)(const AntidiagonalMassTask& task, float* scratch);
    void (*nearest)(const NearestTask& task, float* scratch);
    void (*pool)(const PoolTask& task, float* scratch);
    void (*moments)(const MomentsTask& task, float* scratch);
    void (*cluster_means)(const ClusterMeanTask& task, float* scratch);
    void (*centroid_mass)(const CentroidMassTask& task, float* scratch);
    void (*pair)(const PairTask& task, float* scratch);  // null where there are no pairs; needs no scratch
    // Floats that the pairs of all keys of a head take; null where there are no pairs.
    size_t (*paired_keys)(int64_t keys, int head_dim);
    size_t (*paired_values)(int64_t keys, int head_dim);
    void (*exp2)(const float* x, float* y, int64_t count);  // count is a multiple of lanes
    float (*multiply_adds)(int64_t rounds);                 // round_operations · lanes · rounds of them, in registers
};

// Null where the library was built without the set.
const Kernels* amx_bf16_kernels();
const Kernels* avx512_bf16_kernels();
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
const Kernels* neon_kernels();
const Kernels* portable_kernels();

}  // namespace videosieve
