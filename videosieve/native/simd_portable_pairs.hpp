// Pairs of bf16 in plain C++, 16 at a time as tiles want them: what the emulator of tiles runs with where there is no
// AVX-512 BF16. It has no dot products of its own: products are of tiles.
#pragma once

#include "simd_portable.hpp"

namespace {

struct PortablePairs : Portable<16> {
    using Wide = Portable<16>;
    static constexpr bool pairs = true;

    // Lanes of low and high, rounded to bf16, side by side.
    static Vector pair(Vector low, Vector high) {
        Vector y;
        for (int i = 0; i < lanes; ++i) {
            const uint16_t both[2] = {bfloat_of_float(low.at[i]), bfloat_of_float(high.at[i])};
            memcpy(&y.at[i], both, sizeof both);
        }
        return y;
    }

    static Vector pair_bfloats(const uint16_t* low, const uint16_t* high) {
        Vector y;
        for (int i = 0; i < lanes; ++i) {
            const uint16_t both[2] = {low[i], high[i]};
            memcpy(&y.at[i], both, sizeof both);
        }
        return y;
    }

    static void copy(const uint16_t* from, uint16_t* to) { memcpy(to, from, 2 * lanes * sizeof(uint16_t)); }

    static void store_bfloat(uint16_t* p, Vector x) {
        for (int i = 0; i < lanes; ++i) p[i] = bfloat_of_float(x.at[i]);
    }

    // out[16, 16] is the transpose of in[16, 16], whose rows are `stride` apart. Bits are moved, whatever they mean.
    static void transpose_square(const float* in, int64_t stride, float* out) {
        for (int i = 0; i < 16; ++i)
            for (int j = 0; j < 16; ++j) memcpy(out + j * 16 + i, in + i * stride + j, sizeof(float));
    }

    // In every one of `rows` rows of 32 numbers: number i, where bit i of `taken` is 1, becomes number shift + i of the row
    // of `low` and the row of `high` behind it; the others become 0 where `first`, else they stay.
    static void splice(const uint16_t* low, const uint16_t* high, int shift, uint32_t taken, bool first, int64_t rows,
                       uint16_t* out) {
        for (int64_t row = 0; row < rows; ++row, low += 32, high += 32, out += 32)
            for (int i = 0; i < 32; ++i) {
                if (taken >> i & 1u)
                    out[i] = shift + i < 32 ? low[shift + i] : high[shift + i - 32];
                else if (first)
                    out[i] = 0;
            }
    }
};

}  // namespace
