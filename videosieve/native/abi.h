/* The C interface of the native CPU kernels. No Python, no PyTorch: addresses, shapes and strides.
 *
 * Every function returns null, or a sentence that says what is wrong; nothing is written then, unless memory ran out.
 * VIDEOSIEVE_ABI changes with every incompatible change; callers compare it with videosieve_abi(). */
#ifndef VIDEOSIEVE_ABI_H
#define VIDEOSIEVE_ABI_H

#include <stdint.h>

#define VIDEOSIEVE_ABI 9
#define VIDEOSIEVE_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* Calls work(argument) from the caller and from up to threads - 1 others at a time, and returns after all of them:
 * GOMP_parallel of an OpenMP runtime. Any number of them may come; flags is 0. */
typedef void (*videosieve_parallel)(void (*work)(void*), void* argument, unsigned threads, unsigned flags);

/* A tensor [batch, heads, tokens, head_dim]: strides in elements, 1 along head_dim. */
typedef struct {
    const void* data;
    int64_t batch_stride;
    int64_t head_stride;
    int64_t token_stride;
    int64_t head_group; /* heads of the call that share a head of this tensor; 0 or 1: each has its own */
} videosieve_tensor;

/* Kept blocks. Row r covers the queries [query_offsets[r], query_offsets[r + 1]), column c the keys likewise; offsets
 * begin with 0, end with the number of tokens and never fall. A stride of 0 shares an axis. */
typedef struct {
    const uint8_t* keep; /* [batch, heads, rows, columns], 0 or 1 */
    const int64_t* query_offsets; /* [batch, heads, rows + 1], the last axis contiguous */
    const int64_t* key_offsets; /* [batch, heads, columns + 1], the last axis contiguous */
    int64_t rows;
    int64_t columns;
    int64_t keep_strides[4];
    int64_t query_offset_strides[2];
    int64_t key_offset_strides[2];
    /* Null, or [batch, heads, tokens], the last axis contiguous: place i of the mask is token order[i] of q (output and
     * lse with it), or of k and v. A query order names every token once. */
    const int64_t* query_order;
    const int64_t* key_order;
    int64_t query_order_strides[2];
    int64_t key_order_strides[2];
} videosieve_mask;

/* What answers for key blocks that are left out, one mean key and value per column of the mask. */
typedef struct {
    videosieve_tensor keys; /* [batch, heads, columns, head_dim], of the element of q; null memory: nothing answers */
    videosieve_tensor values;
    const float* log_sizes; /* [batch, heads, columns], the last axis contiguous; added to the scores */
    const uint8_t* answers; /* [batch, heads, rows, columns], 0 or 1; blocks without tokens never answer */
    float* lse; /* [batch, heads, queries], contiguous; over kept keys and centroids */
    int64_t log_size_strides[2];
    int64_t answer_strides[4];
} videosieve_centroids;

typedef struct {
    videosieve_tensor q;
    videosieve_tensor k;
    videosieve_tensor v;
    videosieve_mask mask;
    videosieve_centroids centroids;
    void* output; /* [batch, heads, queries, head_dim], contiguous, of the element of q */
    float* lse; /* [batch, heads, queries], contiguous; over the kept keys */
    /* 0, or 1: query i sees key j only where j <= i + keys - queries. Needs keys >= queries and no orders. */
    int64_t causal;
    /* 0: products of the elements; 1: fp32 elements are rounded to bf16 first, once, and meet in products of bf16, where
     * the instruction set has them. Sums, softmax and results are fp32 either way. */
    int64_t rounded;
    int64_t batch;
    int64_t heads;
    int64_t queries;
    int64_t keys;
    int32_t head_dim;
    int32_t element; /* 0 fp32, 1 bf16, 2 fp16 */
    int32_t threads;
    float scale;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_attention_call;

/* Attention of a few queries over all keys, and again over the keys that each mask keeps. */
typedef struct {
    videosieve_tensor q;
    videosieve_tensor k;
    videosieve_tensor v;
    /* Masks [batch, heads, queries, keys], 0 or 1; the last axis contiguous. Strides in bytes for batch, head and query;
     * 0 shares an axis. */
    const uint8_t* masks[8];
    int64_t mask_strides[8][3];
    int32_t mask_count;
    float* output; /* [1 + masks, batch, heads, queries, head_dim], contiguous; all keys first */
    float* lse; /* [1 + masks, batch, heads, queries], contiguous */
    int64_t batch;
    int64_t heads;
    int64_t queries;
    int64_t keys;
    int32_t head_dim;
    int32_t element;
    int32_t threads;
    float scale;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_sampled_call;

/* Softmax mass of every block: the sum of exp(scale q.k - lse). */
typedef struct {
    videosieve_tensor q;
    videosieve_tensor k;
    const float* lse; /* [batch, heads, queries], contiguous */
    float* mass; /* [batch, heads, query blocks, key blocks], contiguous */
    int64_t query_side;
    int64_t key_side;
    int64_t batch;
    int64_t heads;
    int64_t queries;
    int64_t keys;
    int32_t head_dim;
    int32_t element;
    int32_t threads;
    float scale;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_mass_call;

/* Sums of scale q.k along the antidiagonals of stride x stride cells; tokens past the end count as zeros. */
typedef struct {
    videosieve_tensor q;
    videosieve_tensor k;
    float* scores; /* [batch, heads, query cells, key cells], contiguous */
    int64_t stride;
    int64_t batch;
    int64_t heads;
    int64_t queries;
    int64_t keys;
    int32_t head_dim;
    int32_t element;
    int32_t threads;
    float scale;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_antidiagonal_call;

/* Softmax over key cells of the mean of scale q.k along the antidiagonals of stride x stride cells, summed over the cells
 * of every block; means in partial last cells are over the pairs that there are, and they weigh by their tokens. */
typedef struct {
    videosieve_tensor q;
    videosieve_tensor k;
    float* mass; /* [batch, heads, query blocks, key blocks], contiguous */
    int64_t stride;
    int64_t side; /* of a block, a multiple of stride */
    int64_t causal; /* not zero: a query cell sees no key cell ahead of it, the last of both belong together */
    int64_t batch;
    int64_t heads;
    int64_t queries;
    int64_t keys;
    int32_t head_dim;
    int32_t element;
    int32_t threads;
    float scale;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_antidiagonal_mass_call;

/* Iterations of k-means: the nearest centroid of every token, the first of equally near ones, and the mean of the
 * tokens of every centroid. */
typedef struct {
    videosieve_tensor x;
    const float* centroids; /* [batch, heads, clusters, head_dim], contiguous; where the first iteration starts */
    int64_t clusters; /* at most 2^24 */
    int64_t iterations; /* at least 1 */
    int32_t* labels; /* [batch, heads, keys], contiguous */
    float* means; /* as centroids; a cluster without tokens keeps its centroid */
    int32_t* sizes; /* [batch, heads, clusters], contiguous */
    int64_t* order; /* [batch, heads, keys], contiguous: the tokens cluster by cluster, ascending inside one */
    int64_t* offsets; /* [batch, heads, clusters + 1], contiguous: where clusters begin there */
    int64_t batch;
    int64_t heads;
    int64_t queries; /* 1 */
    int64_t keys; /* tokens of x */
    int32_t head_dim;
    int32_t element; /* of x */
    int32_t threads;
    float scale; /* not used */
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_cluster_call;

/* Mean token of every block of x, and the trace of its covariance. */
typedef struct {
    videosieve_tensor x;
    const int64_t* offsets; /* [batch, heads, blocks + 1], as those of a mask */
    const int64_t* order; /* null, or [batch, heads, keys]: place i is token order[i] */
    int64_t blocks;
    int64_t offset_strides[2];
    int64_t order_strides[2];
    void* means; /* [batch, heads, blocks, head_dim], contiguous, of the element of x; 0 for an empty block */
    float* spreads; /* [batch, heads, blocks], contiguous; mean square of the distance from the mean */
    int64_t batch;
    int64_t heads;
    int64_t queries; /* 1 */
    int64_t keys; /* tokens of x */
    int32_t head_dim;
    int32_t element;
    int32_t threads;
    float scale; /* not used */
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_pool_call;

/* Variance of x along every axis inside every block, and covariance of x with y, both about the means of the block. */
typedef struct {
    videosieve_tensor x;
    videosieve_tensor y; /* of the element of x, [batch, heads, keys, y_dim]; null memory where y_dim is 0 */
    const int64_t* offsets; /* as of a pool */
    const int64_t* order;
    int64_t blocks;
    int64_t offset_strides[2];
    int64_t order_strides[2];
    float* variances; /* [batch, heads, blocks, head_dim], contiguous; 0 for an empty block */
    float* covariances; /* [batch, heads, blocks, y_dim, head_dim], contiguous; null where y_dim is 0 */
    int64_t batch;
    int64_t heads;
    int64_t queries; /* 1 */
    int64_t keys; /* tokens of x */
    int32_t head_dim; /* of x */
    int32_t element;
    int32_t threads;
    float scale; /* not used */
    videosieve_parallel team; /* null: the call starts threads of its own */
    int64_t y_dim; /* 0 to 256 */
} videosieve_moments_call;

/* Which pairs of clusters a head computes: the pair of most worth of every row, and others in order of worth, the first of
 * equals first, as long as their cost fits what the first ones left of the budget. A pair costs queries * (keys - 1). */
typedef struct {
    const float* worth; /* [batch, heads, rows, columns], contiguous; NaN is worth 0 */
    const int64_t* query_sizes; /* [batch, heads, rows], contiguous */
    const int64_t* key_sizes; /* [batch, heads, columns], contiguous; columns of 0 keys are kept and cost nothing */
    const int64_t* budgets; /* [batch, heads], contiguous */
    uint8_t* keep; /* [batch, heads, rows, columns], contiguous */
    int64_t batch;
    int64_t heads;
    int64_t rows;
    int64_t columns;
    int32_t threads;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_deal_call;

/* Softmax of scale q.k + log_sizes over all columns, its mean over the queries of every block. */
typedef struct {
    videosieve_tensor q;
    videosieve_tensor k; /* [batch, heads, keys, head_dim]: the columns */
    const float* log_sizes; /* [batch, heads, keys], the last axis contiguous */
    const int64_t* offsets; /* [batch, heads, rows + 1], as those of a mask */
    const int64_t* order; /* null, or [batch, heads, queries]: place i is token order[i] */
    int64_t rows;
    int64_t log_size_strides[2];
    int64_t offset_strides[2];
    int64_t order_strides[2];
    float* mass; /* [batch, heads, rows, keys], contiguous; 0 for a row without queries */
    int64_t batch;
    int64_t heads;
    int64_t queries;
    int64_t keys;
    int32_t head_dim;
    int32_t element;
    int32_t threads;
    float scale;
    videosieve_parallel team; /* null: the call starts threads of its own */
} videosieve_centroid_mass_call;

VIDEOSIEVE_API int32_t videosieve_abi(void);

/* Names of the instruction sets that this library has and this processor runs, fastest first; null past the end. */
VIDEOSIEVE_API const char* videosieve_instruction_set(int32_t index);

/* The one list of calls: CALL(name) has a structure videosieve_name_call, and a function videosieve_name that computes it;
 * its `set` counts as in videosieve_instruction_set. */
#define VIDEOSIEVE_CALLS(CALL) \
    CALL(attention) CALL(sampled) CALL(mass) CALL(antidiagonal) CALL(antidiagonal_mass) CALL(cluster) CALL(pool) \
    CALL(moments) CALL(centroid_mass) CALL(deal)
#define VIDEOSIEVE_DECLARE(name) \
    VIDEOSIEVE_API const char* videosieve_##name(const videosieve_##name##_call* call, int32_t set);
VIDEOSIEVE_CALLS(VIDEOSIEVE_DECLARE)
#undef VIDEOSIEVE_DECLARE

/* 2^x of count numbers: the function that the kernels use, for tests. */
VIDEOSIEVE_API const char* videosieve_exp2(const float* x, float* y, int64_t count, int32_t set);

/* The highest rate that a kernel could reach: multiplies and adds in registers, their number goes to `operations`. */
VIDEOSIEVE_API const char* videosieve_multiply_adds(int64_t rounds, int64_t* operations, int32_t set);

#ifdef __cplusplus
}
#endif
#endif
