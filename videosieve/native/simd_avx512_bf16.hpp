// AVX-512 with dot products of pairs of bf16. Included by translation units that are compiled with the matching flags.
#pragma once

#include "simd_avx512.hpp"

namespace {

struct Avx512Pairs : Avx512 {
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

    // out[16, 16] is the transpose of in[16, 16], whose rows are `stride` apart. Bits are moved, whatever they mean.
    static void transpose_square(const float* in, int64_t stride, float* out) {
        Vector x[16], y[16];
        for (int i = 0; i < 16; ++i) x[i] = load(in + i * stride);
        for (int i = 0; i < 16; i += 2) {
            y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
            y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
        }
        for (int i = 0; i < 16; i += 4)
            for (int j = 0; j < 2; ++j) {
                const __m512d a = _mm512_castps_pd(y[i + j]), b = _mm512_castps_pd(y[i + 2 + j]);
                x[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                x[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            }
        // A quarter of x[i + j] now holds rows i to i + 3 of one column: j, and every fourth one behind it.
        for (int j = 0; j < 4; ++j) {
            const Vector even_above = _mm512_shuffle_f32x4(x[j], x[4 + j], 0x88);
            const Vector even_below = _mm512_shuffle_f32x4(x[8 + j], x[12 + j], 0x88);
            const Vector odd_above = _mm512_shuffle_f32x4(x[j], x[4 + j], 0xdd);
            const Vector odd_below = _mm512_shuffle_f32x4(x[8 + j], x[12 + j], 0xdd);
            store(out + j * 16, _mm512_shuffle_f32x4(even_above, even_below, 0x88));
            store(out + (4 + j) * 16, _mm512_shuffle_f32x4(odd_above, odd_below, 0x88));
            store(out + (8 + j) * 16, _mm512_shuffle_f32x4(even_above, even_below, 0xdd));
            store(out + (12 + j) * 16, _mm512_shuffle_f32x4(odd_above, odd_below, 0xdd));
        }
    }

    // In every one of `rows` rows of 32 numbers: number i, where bit i of `taken` is 1, becomes number shift + i of the row
    // of `low` and the row of `high` behind it; the others become 0 where `first`, else they stay.
    static void splice(const uint16_t* low, const uint16_t* high, int shift, uint32_t taken, bool first, int64_t rows,
                       uint16_t* out) {
        alignas(64) uint16_t places[32];
        for (int i = 0; i < 32; ++i) places[i] = static_cast<uint16_t>(shift + i);
        const __m512i from = _mm512_load_si512(places);
        for (int64_t row = 0; row < rows; ++row, low += 32, high += 32, out += 32) {
            const __m512i found = _mm512_permutex2var_epi16(_mm512_loadu_si512(low), from, _mm512_loadu_si512(high));
            const __m512i others = first ? _mm512_setzero_si512() : _mm512_loadu_si512(out);
            _mm512_storeu_si512(out, _mm512_mask_mov_epi16(others, taken, found));
        }
    }
};

}  // namespace
