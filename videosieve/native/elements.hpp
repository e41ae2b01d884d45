// Stored numbers and the constants of exp2; everything here is local to the translation unit that includes it, because
// the same inline function compiled for two instruction sets must never be merged by the linker.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace {

// 2^r on [−1/2, 1/2] as 1 + r (c0 + r (c1 + …)): minimax in relative error, which is 9.2e-8 before rounding. The whole
// function stays within 2 units in the last place of fp32; a test sweeps the range.
constexpr float exp2_coefficients[5] = {0x1.62e42ap-1f, 0x1.ebf9bcp-3f, 0x1.c6b752p-5f, 0x1.3cea88p-7f, 0x1.5bba14p-10f};
constexpr float exp2_smallest = -126.0f;  // below it the result is no normal fp32 number
constexpr float exp2_largest = 128.0f;    // its exponent is that of infinity

inline float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

inline uint32_t bits_of_float(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float float_of_bfloat(uint16_t x) { return float_of_bits(static_cast<uint32_t>(x) << 16); }

inline float float_of_half(uint16_t x) {
    const uint32_t sign = static_cast<uint32_t>(x & 0x8000u) << 16, rest = x & 0x7fffu;
    if (rest >= 0x7c00u) return float_of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest < 0x0400u) {  // zero and subnormal: a multiple of 2^-24
        const float tiny = static_cast<float>(rest) * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    return float_of_bits(sign | ((rest << 13) + 0x38000000u));
}

// Both round to the nearest, ties to even, and keep NaN a NaN.
inline uint16_t bfloat_of_float(float x) {
    const uint32_t bits = bits_of_float(x);
    if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40u);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline uint16_t half_of_float(float x) {
    const uint32_t bits = bits_of_float(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (rest >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to 65,536 or more
    if (rest < 0x38800000u) {  // adding 1/2 leaves the subnormal's bits, rounded, at the end of the sum
        const uint32_t sum = bits_of_float(float_of_bits(rest) + 0.5f);
        return static_cast<uint16_t>(sign | (sum - 0x3f000000u));
    }
    return static_cast<uint16_t>(sign | ((rest + 0xfffu + (rest >> 13 & 1u) - 0x38000000u) >> 13));
}

}  // namespace
