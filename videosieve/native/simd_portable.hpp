// No instruction set in particular: lanes as plain arrays, which compilers turn into whatever vectors there are.
#pragma once

#include "elements.hpp"

namespace {

template <int Lanes>
struct Portable {
    using Wide = Portable;
    using Tiles = void;
    static constexpr bool pairs = false;
    static constexpr int lanes = Lanes;
    static constexpr int rows = 4;
    static constexpr int vectors = 2;
    struct Vector {
        float at[lanes];
    };

    template <class Function>
    static Vector each(Function function) {
        Vector y;
        for (int i = 0; i < lanes; ++i) y.at[i] = function(i);
        return y;
    }
    static Vector zero() { return set(0.0f); }
    static Vector set(float x) {
        return each([=](int) { return x; });
    }
    static Vector load(const float* p) {
        return each([=](int i) { return p[i]; });
    }
    static void store(float* p, Vector x) {
        for (int i = 0; i < lanes; ++i) p[i] = x.at[i];
    }
    static Vector add(Vector a, Vector b) {
        return each([&](int i) { return a.at[i] + b.at[i]; });
    }
    static Vector subtract(Vector a, Vector b) {
        return each([&](int i) { return a.at[i] - b.at[i]; });
    }
    static Vector multiply(Vector a, Vector b) {
        return each([&](int i) { return a.at[i] * b.at[i]; });
    }
    static Vector multiply_add(Vector a, Vector b, Vector c) {
        return each([&](int i) { return a.at[i] * b.at[i] + c.at[i]; });
    }
    static Vector dot(Vector a, Vector b, Vector c) { return multiply_add(a, b, c); }
    static Vector largest(Vector a, Vector b) {
        return each([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; });
    }

    // x where a > b, else y; y where one of a and b is NaN.
    static Vector where_greater(Vector a, Vector b, Vector x, Vector y) {
        return each([&](int i) { return a.at[i] > b.at[i] ? x.at[i] : y.at[i]; });
    }

    // 0 where x is −inf, else x: what scores are measured from.
    static Vector finite_or_zero(Vector x) {
        return each([&](int i) { return x.at[i] == -INFINITY ? 0.0f : x.at[i]; });
    }

    // x in the lanes whose bit is 1, else other; bits past the lanes do not count.
    static Vector choose(uint32_t bits, Vector x, Vector other) {
        return each([&](int i) { return bits >> i & 1u ? x.at[i] : other.at[i]; });
    }

    // 2^x; 0 below the normal range, infinite from 2^127.5 on. NaN stays what it is.
    static Vector exp2(Vector x) {
        return each([&](int i) { return exp2_of_one(x.at[i]); });
    }

    // out[j][i] = in[i][j] · factor[j] for i and j below 4.
    static void transpose(const float* const in[4], float* const out[4], const float factor[4]) {
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < 4; ++i) out[j][i] = in[i][j] * factor[j];
    }

    static Vector load_half(const uint16_t* p) {
        return each([=](int i) { return float_of_half(p[i]); });
    }
    static Vector load_bfloat(const uint16_t* p) {
        return each([=](int i) { return float_of_bfloat(p[i]); });
    }

  private:
    static float exp2_of_one(float x) {
        if (x < exp2_smallest) return 0.0f;
        if (x > exp2_largest - 0.5f) return INFINITY;
        if (x != x) return x;
        const float whole = static_cast<float>(static_cast<int>(x < 0.0f ? x - 0.5f : x + 0.5f));
        const float rest = x - whole;
        float y = exp2_coefficients[4];
        for (int i = 3; i >= 0; --i) y = y * rest + exp2_coefficients[i];
        return (y * rest + 1.0f) * float_of_bits((static_cast<uint32_t>(static_cast<int>(whole) + 127)) << 23);
    }
};

}  // namespace
