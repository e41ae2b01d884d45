// From calls to tasks: addresses of one head.
#pragma once

#include "abi.h"
#include "kernels.hpp"

namespace videosieve {

template <class Call>
Numbers numbers_of(const Call& call) {
    const auto element = static_cast<Element>(call.element);
    return {call.head_dim, element, call.scale, element == Element::bfloat16};
}

inline Numbers numbers_of(const videosieve_attention_call& call) {
    Numbers numbers = numbers_of<videosieve_attention_call>(call);
    numbers.pairs |= call.rounded != 0;
    return numbers;
}

inline void* moved(const void* x, int32_t element, int64_t values) {
    return const_cast<char*>(static_cast<const char*>(x)) + values * (element == 0 ? 4 : 2);
}

inline void* head_of(const videosieve_tensor& x, int32_t element, int64_t b, int64_t h, int64_t token = 0) {
    const int64_t head = x.head_group > 1 ? h / x.head_group : h;
    return moved(x.data, element, b * x.batch_stride + head * x.head_stride + token * x.token_stride);
}

template <class Call>
QueryRows queries_of(const Call& call, int64_t b, int64_t h, int64_t first, int64_t count) {
    return {head_of(call.q, call.element, b, h, first), call.q.token_stride, count};
}

// `v` may be null.
template <class Call>
KeyRuns keys_of(const Call& call, const videosieve_tensor* v, int64_t b, int64_t h, const Run* runs, int64_t count) {
    return {head_of(call.k, call.element, b, h), v ? head_of(*v, call.element, b, h) : nullptr, call.k.token_stride,
            v ? v->token_stride : 0, runs, count};
}

}  // namespace videosieve
