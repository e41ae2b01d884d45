// AVX2 with FMA and F16C: 8 lanes. Included by one translation unit only, which is compiled with the matching flags.
#pragma once

#include <immintrin.h>

#include "elements.hpp"

namespace {

struct Simd {
    using Vector = __m256;
    using Wide = Simd;
    using Tiles = void;
    static constexpr bool pairs = false;
    static constexpr int lanes = 8;
    static constexpr int rows = 6;
    static constexpr int vectors = 2;

    static Vector zero() { return _mm256_setzero_ps(); }
    static Vector set(float x) { return _mm256_set1_ps(x); }
    static Vector load(const float* p) { return _mm256_loadu_ps(p); }
    static void store(float* p, Vector x) { _mm256_storeu_ps(p, x); }
    static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
    static Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
    static Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
    static Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
    static Vector dot(Vector a, Vector b, Vector c) { return multiply_add(a, b, c); }
    static Vector largest(Vector a, Vector b) { return _mm256_max_ps(a, b); }

    // x where a > b, else y; y where one of a and b is NaN.
    static Vector where_greater(Vector a, Vector b, Vector x, Vector y) {
        return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
    }

    // 0 where x is −inf, else x: what scores are measured from.
    static Vector finite_or_zero(Vector x) {
        const Vector empty = _mm256_cmp_ps(x, set(-INFINITY), _CMP_EQ_OQ);
        return _mm256_andnot_ps(empty, x);
    }

    // x in the lanes whose bit is 1, else other; bits past the lanes do not count.
    static Vector choose(uint32_t bits, Vector x, Vector other) {
        const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        const __m256i mine = _mm256_and_si256(_mm256_set1_epi32(static_cast<int32_t>(bits)), lane);
        return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(_mm256_cmpeq_epi32(mine, lane)));
    }

    // 2^x; 0 below the normal range, infinite from 2^127.5 on. VMAXPS and VMINPS return their second operand where one
    // is NaN.
    static Vector exp2(Vector x) {
        const Vector tiny = _mm256_cmp_ps(x, set(exp2_smallest), _CMP_LT_OQ);
        const Vector inside = _mm256_min_ps(set(exp2_largest), _mm256_max_ps(set(exp2_smallest), x));
        const Vector whole = _mm256_round_ps(inside, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const Vector rest = subtract(inside, whole);
        Vector y = set(exp2_coefficients[4]);
        for (int i = 3; i >= 0; --i) y = multiply_add(y, rest, set(exp2_coefficients[i]));
        y = multiply_add(y, rest, set(1.0f));
        const __m256i power = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
        y = multiply(y, _mm256_castsi256_ps(_mm256_slli_epi32(power, 23)));
        return _mm256_andnot_ps(tiny, y);
    }

    // out[j][i] = in[i][j] · factor[j] for i and j below 4.
    static void transpose(const float* const in[4], float* const out[4], const float factor[4]) {
        __m128 a = _mm_loadu_ps(in[0]), b = _mm_loadu_ps(in[1]), c = _mm_loadu_ps(in[2]), d = _mm_loadu_ps(in[3]);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps(out[0], _mm_mul_ps(a, _mm_set1_ps(factor[0])));
        _mm_storeu_ps(out[1], _mm_mul_ps(b, _mm_set1_ps(factor[1])));
        _mm_storeu_ps(out[2], _mm_mul_ps(c, _mm_set1_ps(factor[2])));
        _mm_storeu_ps(out[3], _mm_mul_ps(d, _mm_set1_ps(factor[3])));
    }

    static Vector load_half(const uint16_t* p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static Vector load_bfloat(const uint16_t* p) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
};

}  // namespace
