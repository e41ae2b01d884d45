// AVX-512 with dot products of pairs of bf16. Included by one translation unit only, which is compiled with the matching
// flags.
#pragma once

#include "simd_avx512.hpp"

namespace {

struct Simd : Avx512 {
    static constexpr bool pairs = true;

    // c + a · b of both numbers of every lane, summed in fp32; subnormal bf16 numbers count as zero.
    static Vector dot(Vector a, Vector b, Vector c) {
        return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
    }

    // Lanes of low and high, rounded to bf16, side by side.
    static Vector pair(Vector low, Vector high) {
        const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
        const __m512i lanes = _mm512_setr_epi32(
            0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007, 0x180008, 0x190009, 0x1a000a,
            0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f);
        return _mm512_castsi512_ps(_mm512_permutexvar_epi16(lanes, halves));
    }

    static Vector pair_bfloats(const uint16_t* low, const uint16_t* high) {
        const __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(low)));
        const __m512i b = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(high)));
        return _mm512_castsi512_ps(_mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
    }

    static void copy(const uint16_t* from, uint16_t* to) { _mm512_storeu_si512(to, _mm512_loadu_si512(from)); }

    static void store_bfloat(uint16_t* p, Vector x) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
    }
};

}  // namespace
