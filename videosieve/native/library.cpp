// The C interface: which instruction sets there are, checks, and no exception ever leaves.
#include "abi.h"

#include <initializer_list>
#include <new>
#include <vector>

#include "processor.hpp"
#include "schedule.hpp"

namespace {

using videosieve::Kernels;

// The one place where sets are ranked, fastest first.
const Kernels* instruction_set(int32_t index) {
    const Kernels* const pairs = videosieve::has_avx512_bf16() ? videosieve::avx512_bf16_kernels() : nullptr;
    const Kernels* candidates[] = {
        videosieve::has_amx_bf16() ? videosieve::amx_bf16_kernels() : nullptr,
        videosieve::gains_by_pairs() ? pairs : nullptr,
        videosieve::has_avx512() ? videosieve::avx512_kernels() : nullptr,
        videosieve::gains_by_pairs() ? nullptr : pairs,
        videosieve::has_avx2() ? videosieve::avx2_kernels() : nullptr,
        videosieve::neon_kernels(),
        videosieve::portable_kernels(),
    };
    for (const Kernels* candidate : candidates)
        if (candidate && index-- == 0) return candidate;
    return nullptr;
}

constexpr char no_such_set[] = "there is no such instruction set";
constexpr char no_memory[] = "there is not enough memory for the scratch space";

const char* refuse_tensor(const videosieve_tensor& x, int64_t alignment) {
    if (!x.data) return "a tensor has no memory";
    if (reinterpret_cast<uintptr_t>(x.data) % alignment) return "a tensor is not aligned to its elements";
    if (x.batch_stride < 0 || x.head_stride < 0 || x.token_stride < 0) return "strides must not be negative";
    return x.head_group < 0 ? "a group of heads must not be negative" : nullptr;
}

// Offsets [count + 1] of every head: from 0 to tokens, never falling.
template <class Call>
const char* refuse_offsets(const Call& call, const int64_t* all, const int64_t* strides, int64_t count, int64_t tokens) {
    if (strides[0] < 0 || strides[1] < 0) return "strides must not be negative";
    for (int64_t b = 0; b < (strides[0] ? call.batch : 1); ++b)
        for (int64_t h = 0; h < (strides[1] ? call.heads : 1); ++h) {
            const int64_t* offsets = all + b * strides[0] + h * strides[1];
            if (offsets[0] != 0 || offsets[count] != tokens)
                return "block offsets must begin with 0 and end with the number of tokens";
            for (int64_t i = 0; i < count; ++i)
                if (offsets[i] > offsets[i + 1]) return "block offsets must not fall";
        }
    return nullptr;
}

// Orders of every head: tokens that there are, each of them once where rows are written in that order.
template <class Call>
const char* refuse_order(const Call& call, const int64_t* order, const int64_t* strides, int64_t tokens, bool once = false) {
    if (!order) return nullptr;
    if (strides[0] < 0 || strides[1] < 0) return "strides must not be negative";
    std::vector<bool> named;
    for (int64_t b = 0; b < (strides[0] ? call.batch : 1); ++b)
        for (int64_t h = 0; h < (strides[1] ? call.heads : 1); ++h) {
            if (once) named.assign(tokens, false);
            for (int64_t i = 0; i < tokens; ++i) {
                const int64_t token = order[b * strides[0] + h * strides[1] + i];
                if (token < 0 || token >= tokens) return "an order must name tokens that there are";
                if (!once) continue;
                if (named[token]) return "an order of queries must name every token once";
                named[token] = true;
            }
        }
    return nullptr;
}

const char* refuse_tensors(std::initializer_list<const videosieve_tensor*> tensors, int32_t element) {
    const int64_t alignment = element == 0 ? 4 : 2;
    for (const videosieve_tensor* x : tensors)
        if (const char* reason = refuse_tensor(*x, alignment)) return reason;
    return nullptr;
}

template <class Call>
const char* refuse_sizes(const Call& call) {
    if (call.batch < 1 || call.heads < 1 || call.queries < 1 || call.keys < 1)
        return "batch, heads, queries and keys must be at least 1";
    if (call.head_dim < 1 || call.head_dim > videosieve::most_head_dim) return "head_dim must be 1 to 256";
    if (call.element < 0 || call.element > 2) return "element must be 0 (fp32), 1 (bf16) or 2 (fp16)";
    if (call.threads < 1) return "threads must be at least 1";
    return nullptr;
}

const char* refuse_centroids(const videosieve_centroids& centroids, int32_t element) {
    if (const char* reason = refuse_tensors({&centroids.keys, &centroids.values}, element)) return reason;
    if (!centroids.log_sizes || !centroids.answers || !centroids.lse) return "centroids must have memory";
    for (const int64_t stride : centroids.answer_strides)
        if (stride < 0) return "strides must not be negative";
    for (const int64_t stride : centroids.log_size_strides)
        if (stride < 0) return "strides must not be negative";
    return nullptr;
}

const char* refuse(const videosieve_attention_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.q, &call.k, &call.v}, call.element)) return reason;
    const videosieve_mask& mask = call.mask;
    if (call.causal && (call.keys < call.queries || mask.query_order || mask.key_order))
        return "causal attention needs at least as many keys as queries, and tokens in order";
    if (!mask.keep || !mask.query_offsets || !mask.key_offsets || !call.output || !call.lse)
        return "mask and output must have memory";
    if (mask.rows < 1 || mask.columns < 1) return "the mask must have at least one row and one column";
    for (const int64_t stride : mask.keep_strides)
        if (stride < 0) return "strides must not be negative";
    if (const char* reason = refuse_offsets(call, mask.query_offsets, mask.query_offset_strides, mask.rows, call.queries))
        return reason;
    if (const char* reason = refuse_offsets(call, mask.key_offsets, mask.key_offset_strides, mask.columns, call.keys))
        return reason;
    if (const char* reason = refuse_order(call, mask.query_order, mask.query_order_strides, call.queries, true))
        return reason;
    if (const char* reason = refuse_order(call, mask.key_order, mask.key_order_strides, call.keys)) return reason;
    return call.centroids.keys.data ? refuse_centroids(call.centroids, call.element) : nullptr;
}

const char* refuse(const videosieve_sampled_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.q, &call.k, &call.v}, call.element)) return reason;
    if (call.mask_count < 0 || call.mask_count > videosieve::most_masks) return "there must be 0 to 8 masks";
    for (int m = 0; m < call.mask_count; ++m) {
        if (!call.masks[m]) return "masks and output must have memory";
        for (const int64_t stride : call.mask_strides[m])
            if (stride < 0) return "strides must not be negative";
    }
    return call.output && call.lse ? nullptr : "masks and output must have memory";
}

const char* refuse(const videosieve_mass_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.q, &call.k}, call.element)) return reason;
    if (call.query_side < 1 || call.key_side < 1) return "block sides must be at least 1";
    return call.lse && call.mass ? nullptr : "lse and mass must have memory";
}

const char* refuse(const videosieve_antidiagonal_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.q, &call.k}, call.element)) return reason;
    if (call.stride < 1 || call.stride > videosieve::most_stride) return "the stride must be 1 to 1024";
    return call.scores ? nullptr : "scores must have memory";
}

const char* refuse(const videosieve_antidiagonal_mass_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.q, &call.k}, call.element)) return reason;
    if (call.stride < 1 || call.stride > videosieve::most_stride) return "the stride must be 1 to 1024";
    if (call.side < 1 || call.side % call.stride) return "the stride must divide the block side";
    return call.mass ? nullptr : "mass must have memory";
}

const char* refuse(const videosieve_cluster_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.x}, call.element)) return reason;
    if (call.iterations < 1) return "there must be at least one iteration";
    if (call.clusters < 1 || call.clusters > videosieve::most_clusters) return "there must be 1 to 2^24 clusters";
    return call.centroids && call.labels && call.means && call.sizes && call.order && call.offsets
               ? nullptr
               : "centroids and results must have memory";
}

const char* refuse(const videosieve_pool_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.x}, call.element)) return reason;
    if (call.blocks < 1) return "there must be at least one block";
    if (!call.offsets || !call.means || !call.spreads) return "offsets and results must have memory";
    if (const char* reason = refuse_offsets(call, call.offsets, call.offset_strides, call.blocks, call.keys))
        return reason;
    return refuse_order(call, call.order, call.order_strides, call.keys);
}

const char* refuse(const videosieve_moments_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (call.y_dim < 0 || call.y_dim > videosieve::most_head_dim) return "y_dim must be 0 to 256";
    if (const char* reason = refuse_tensors({&call.x}, call.element)) return reason;
    if (call.y_dim)
        if (const char* reason = refuse_tensors({&call.y}, call.element)) return reason;
    if (call.blocks < 1) return "there must be at least one block";
    if (!call.offsets || !call.variances || (call.y_dim && !call.covariances))
        return "offsets and results must have memory";
    if (const char* reason = refuse_offsets(call, call.offsets, call.offset_strides, call.blocks, call.keys))
        return reason;
    return refuse_order(call, call.order, call.order_strides, call.keys);
}

const char* refuse(const videosieve_deal_call& call) {
    if (call.batch < 1 || call.heads < 1 || call.rows < 1 || call.columns < 1)
        return "batch, heads, rows and columns must be at least 1";
    if (call.rows > INT32_MAX / call.columns) return "a head must have less than 2^31 pairs of clusters";
    if (call.threads < 1) return "threads must be at least 1";
    return call.worth && call.query_sizes && call.key_sizes && call.budgets && call.keep
               ? nullptr
               : "worth, sizes, budgets and keep must have memory";
}

const char* refuse(const videosieve_centroid_mass_call& call) {
    if (const char* reason = refuse_sizes(call)) return reason;
    if (const char* reason = refuse_tensors({&call.q, &call.k}, call.element)) return reason;
    if (call.rows < 1) return "there must be at least one row";
    if (!call.log_sizes || !call.offsets || !call.mass) return "log_sizes, offsets and mass must have memory";
    if (call.log_size_strides[0] < 0 || call.log_size_strides[1] < 0) return "strides must not be negative";
    if (const char* reason = refuse_offsets(call, call.offsets, call.offset_strides, call.rows, call.queries))
        return reason;
    return refuse_order(call, call.order, call.order_strides, call.queries);
}

template <class Call>
const char* refuse_products(const Call&, const Kernels&) {
    return nullptr;
}

const char* refuse_products(const videosieve_attention_call& call, const Kernels& kernels) {
    if (!call.rounded) return nullptr;
    if (call.element != 0) return "only fp32 is rounded to bf16";
    return kernels.pairs ? nullptr : "this instruction set has no products of bf16";
}

template <class Call>
const char* run(const Call& call, int32_t set) {
    const Kernels* kernels = set < 0 ? nullptr : instruction_set(set);
    if (!kernels) return no_such_set;
    try {
        if (const char* reason = refuse(call)) return reason;
        if (const char* reason = refuse_products(call, *kernels)) return reason;
        videosieve::compute(call, *kernels);
    } catch (const std::bad_alloc&) {
        return no_memory;
    }
    return nullptr;
}

}  // namespace

int32_t videosieve_abi(void) { return VIDEOSIEVE_ABI; }

const char* videosieve_instruction_set(int32_t index) {
    const Kernels* kernels = index < 0 ? nullptr : instruction_set(index);
    return kernels ? kernels->name : nullptr;
}

#define VIDEOSIEVE_DEFINE(name) \
    const char* videosieve_##name(const videosieve_##name##_call* call, int32_t set) { return run(*call, set); }
VIDEOSIEVE_CALLS(VIDEOSIEVE_DEFINE)

const char* videosieve_exp2(const float* x, float* y, int64_t count, int32_t set) {
    const Kernels* kernels = set < 0 ? nullptr : instruction_set(set);
    if (!kernels) return no_such_set;
    if (count < 0 || count % kernels->lanes) return "count must be a multiple of the lanes";
    kernels->exp2(x, y, count);
    return nullptr;
}

const char* videosieve_multiply_adds(int64_t rounds, int64_t* operations, int32_t set) {
    const Kernels* kernels = set < 0 ? nullptr : instruction_set(set);
    if (!kernels) return no_such_set;
    if (rounds < 1 || !operations) return "rounds must be at least 1 and operations must have memory";
    volatile float result = kernels->multiply_adds(rounds);
    (void)result;
    *operations = rounds * kernels->lanes * videosieve::round_operations;
    return nullptr;
}
