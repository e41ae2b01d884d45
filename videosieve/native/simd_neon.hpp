// NEON of 64-bit ARM: 4 lanes. Included by one translation unit only.
#pragma once

#include <arm_neon.h>

#include "elements.hpp"

namespace {

struct Simd {
    using Vector = float32x4_t;
    using Wide = Simd;
    using Tiles = void;
    static constexpr bool pairs = false;
    static constexpr int lanes = 4;
    static constexpr int rows = 6;
    static constexpr int vectors = 4;

    static Vector zero() { return vdupq_n_f32(0.0f); }
    static Vector set(float x) { return vdupq_n_f32(x); }
    static Vector load(const float* p) { return vld1q_f32(p); }
    static void store(float* p, Vector x) { vst1q_f32(p, x); }
    static Vector add(Vector a, Vector b) { return vaddq_f32(a, b); }
    static Vector subtract(Vector a, Vector b) { return vsubq_f32(a, b); }
    static Vector multiply(Vector a, Vector b) { return vmulq_f32(a, b); }
    static Vector multiply_add(Vector a, Vector b, Vector c) { return vfmaq_f32(c, a, b); }
    static Vector dot(Vector a, Vector b, Vector c) { return multiply_add(a, b, c); }
    static Vector largest(Vector a, Vector b) { return vmaxq_f32(a, b); }

    // x where a > b, else y; y where one of a and b is NaN.
    static Vector where_greater(Vector a, Vector b, Vector x, Vector y) {
        return vbslq_f32(vcgtq_f32(a, b), x, y);
    }

    // 0 where x is −inf, else x: what scores are measured from.
    static Vector finite_or_zero(Vector x) {
        return vbslq_f32(vceqq_f32(x, set(-INFINITY)), zero(), x);
    }

    // x in the lanes whose bit is 1, else other; bits past the lanes do not count.
    static Vector choose(uint32_t bits, Vector x, Vector other) {
        const uint32_t lane[4] = {1, 2, 4, 8};
        return vbslq_f32(vtstq_u32(vdupq_n_u32(bits), vld1q_u32(lane)), x, other);
    }

    // 2^x; 0 below the normal range, infinite from 2^127.5 on. FMAX and FMIN pass NaN on.
    static Vector exp2(Vector x) {
        const uint32x4_t tiny = vcltq_f32(x, set(exp2_smallest));
        const Vector inside = vminq_f32(vmaxq_f32(x, set(exp2_smallest)), set(exp2_largest));
        const Vector whole = vrndnq_f32(inside);
        const Vector rest = subtract(inside, whole);
        Vector y = set(exp2_coefficients[4]);
        for (int i = 3; i >= 0; --i) y = multiply_add(y, rest, set(exp2_coefficients[i]));
        y = multiply_add(y, rest, set(1.0f));
        const int32x4_t power = vaddq_s32(vcvtnq_s32_f32(whole), vdupq_n_s32(127));
        y = multiply(y, vreinterpretq_f32_s32(vshlq_n_s32(power, 23)));
        return vbslq_f32(tiny, zero(), y);
    }

    // out[j][i] = in[i][j] · factor[j] for i and j below 4.
    static void transpose(const float* const in[4], float* const out[4], const float factor[4]) {
        const float32x4x2_t ab = vtrnq_f32(vld1q_f32(in[0]), vld1q_f32(in[1]));
        const float32x4x2_t cd = vtrnq_f32(vld1q_f32(in[2]), vld1q_f32(in[3]));
        for (int half = 0; half < 2; ++half) {
            const Vector low = vcombine_f32(vget_low_f32(ab.val[half]), vget_low_f32(cd.val[half]));
            const Vector high = vcombine_f32(vget_high_f32(ab.val[half]), vget_high_f32(cd.val[half]));
            vst1q_f32(out[half], vmulq_n_f32(low, factor[half]));
            vst1q_f32(out[half + 2], vmulq_n_f32(high, factor[half + 2]));
        }
    }

    static Vector load_half(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
    static Vector load_bfloat(const uint16_t* p) {
        return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
    }
};

}  // namespace
