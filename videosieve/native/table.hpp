// The kernels of the instruction set whose simd_….hpp was included before.
#pragma once

#include "estimates.hpp"
#include "sampled.hpp"

namespace {

void exp2_all(const float* x, float* y, int64_t count) {
    for (int64_t i = 0; i < count; i += Simd::lanes) Simd::store(y + i, Simd::exp2(Simd::load(x + i)));
}

constexpr videosieve::Kernels table_named(const char* name) {
    return {name,    Simd::lanes, attention_scratch, sampled_scratch, mass_scratch, antidiagonal_scratch,
            attention, sampled,     mass,              antidiagonal,    exp2_all};
}

}  // namespace
