// AVX-512: 16 lanes. Included by one translation unit only, which is compiled with the matching flags.
#pragma once

#include <immintrin.h>

#include "elements.hpp"

namespace {

struct Avx512 {
    using Vector = __m512;
    using Wide = Avx512;
    using Tiles = void;
    static constexpr bool pairs = false;
    static constexpr int lanes = 16;
    static constexpr int rows = 8;     // of a register tile, with `vectors` vectors each
    static constexpr int vectors = 2;

    static Vector zero() { return _mm512_setzero_ps(); }
    static Vector set(float x) { return _mm512_set1_ps(x); }
    static Vector load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, Vector x) { _mm512_storeu_ps(p, x); }
    static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
    static Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
    static Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
    static Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
    static Vector dot(Vector a, Vector b, Vector c) { return multiply_add(a, b, c); }
    static Vector largest(Vector a, Vector b) { return _mm512_max_ps(a, b); }

    // x where a > b, else y; y where one of a and b is NaN.
    static Vector where_greater(Vector a, Vector b, Vector x, Vector y) {
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
    }

    // 0 where x is −inf, else x: what scores are measured from.
    static Vector finite_or_zero(Vector x) {
        const __mmask16 empty = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ);
        return _mm512_mask_mov_ps(x, empty, _mm512_setzero_ps());
    }

    // x in the lanes whose bit is 1, else other; bits past the lanes do not count.
    static Vector choose(uint32_t bits, Vector x, Vector other) {
        return _mm512_mask_mov_ps(other, static_cast<__mmask16>(bits), x);
    }

    // 2^x. VSCALEFPS rounds what is too small, overflows to infinity and passes NaN on by itself; of a NaN and −inf, which
    // is what −inf comes to, it makes 0, of a NaN and inf infinity.
    static Vector exp2(Vector x) {
        const Vector whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const Vector rest = subtract(x, whole);
        Vector y = set(exp2_coefficients[4]);
        for (int i = 3; i >= 0; --i) y = multiply_add(y, rest, set(exp2_coefficients[i]));
        return _mm512_scalef_ps(multiply_add(y, rest, set(1.0f)), whole);
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
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static Vector load_bfloat(const uint16_t* p) {
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
        return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
    }
};

}  // namespace
