// What an instruction set has to offer: plain functions over plain structs, so that the translation units compiled for
// it share no inline function, template or allocation with the rest.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace videosieve {

enum class Element : int32_t { float32 = 0, bfloat16 = 1, float16 = 2 };

// Key tokens [start, start + count).
struct Run {
    int64_t start;
    int64_t count;
};

// Most queries of one task: enough to reuse a key block from the second-level cache, few enough to share out.
constexpr int task_queries = 128;

// Attention of at most task_queries neighbouring queries over the same keys. Strides in elements, head_dim contiguous.
struct AttentionTask {
    const void* q;
    const void* k;
    const void* v;
    int64_t q_stride;
    int64_t k_stride;
    int64_t v_stride;
    const Run* runs;
    int64_t run_count;
    int32_t queries;
    int32_t head_dim;
    Element element;
    float scale;
    void* output;  // [queries, head_dim], contiguous, of the same element
    float* lse;    // [queries]
};

struct Kernels {
    const char* name;
    int lanes;
    // Floats of aligned scratch that one thread needs for `attention`.
    size_t (*attention_scratch)(int head_dim);
    void (*attention)(const AttentionTask& task, float* scratch);
    void (*exp2)(const float* x, float* y, int64_t count);  // count is a multiple of lanes
};

// Null where the library was built without the set or this processor does not have it.
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
const Kernels* neon_kernels();
const Kernels* portable_kernels();

}  // namespace videosieve
