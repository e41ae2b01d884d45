// The kernels of the instruction set whose simd_….hpp was included before.
#pragma once

#include "antidiagonals.hpp"
#include "centroid_mass.hpp"
#include "clusters.hpp"
#include "estimates.hpp"
#include "moments.hpp"
#include "sampled.hpp"

namespace {

void exp2_all(const float* x, float* y, int64_t count) {
    for (int64_t i = 0; i < count; i += Simd::lanes) Simd::store(y + i, Simd::exp2(Simd::load(x + i)));
}

float multiply_adds(int64_t rounds) {
    Simd::Vector sums[videosieve::round_operations], factor = Simd::set(0.999f);
    for (int i = 0; i < videosieve::round_operations; ++i) sums[i] = Simd::set(static_cast<float>(i));
    for (int64_t round = 0; round < rounds; ++round)
        for (int i = 0; i < videosieve::round_operations; ++i) sums[i] = Simd::multiply_add(sums[i], factor, factor);
    for (int i = 1; i < videosieve::round_operations; ++i) sums[0] = Simd::add(sums[0], sums[i]);
    float lanes[Simd::lanes];
    Simd::store(lanes, sums[0]);
    return lanes[0];
}

constexpr videosieve::Kernels table_named(const char* name) {
    return {name,
            Simd::lanes,
            Simd::pairs,
            attention_scratch,
            sampled_scratch,
            mass_scratch,
            antidiagonal_scratch,
            antidiagonal_mass_scratch,
            nearest_scratch,
            pool_scratch,
            moments_scratch,
            centroid_mass_scratch,
            attention,
            sampled,
            mass,
            antidiagonal,
            antidiagonal_mass,
            nearest,
            pool,
            moments,
            cluster_means,
            centroid_mass,
            nullptr,
            nullptr,
            nullptr,
            exp2_all,
            multiply_adds};
}

}  // namespace
