// The tile instructions of AMX in plain C++, after the operations that Intel's manual gives for them: for tests on machines
// without AMX. Every thread has its own tiles. Sums are the processor's, rounding included.
#pragma once

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "elements.hpp"
#include "tile_shapes.hpp"

namespace {

struct EmulatedTiles {
    static void configure(const TileShapes& shapes) {
        Bank& bank = own();
        if (shapes.palette != 1) abort();  // the processor raises a fault
        for (int i = 0; i < tile_count; ++i)
            if (shapes.bytes[i] > tile_bytes || shapes.rows[i] > tile_rows) abort();
        bank.shapes = shapes;
        memset(bank.at, 0, sizeof bank.at);
        bank.configured = true;
    }
    static void release() { own().configured = false; }

    template <int Tile>
    static void zero() {
        memset(tile(Tile), 0, sizeof(float) * tile_floats);
    }

    template <int Tile>
    static void load(const void* from, int64_t stride) {
        zero<Tile>();
        const TileShapes& shapes = own().shapes;
        for (int row = 0; row < shapes.rows[Tile]; ++row)
            memcpy(tile(Tile) + row * row_floats, static_cast<const char*>(from) + row * stride, shapes.bytes[Tile]);
    }

    template <int Tile>
    static void store(void* to, int64_t stride) {
        const float* const rows = tile(Tile);
        const TileShapes& shapes = own().shapes;
        for (int row = 0; row < shapes.rows[Tile]; ++row)
            memcpy(static_cast<char*>(to) + row * stride, rows + row * row_floats, shapes.bytes[Tile]);
    }

    // TDPBF16PS: even and odd numbers are summed apart, then added to one another and to what there was; numbers too small
    // for the normal range are zeros, before and after.
    template <int Sum, int A, int B>
    static void multiply() {
        float* const sums = tile(Sum);
        const float *a = tile(A), *b = tile(B);
        const TileShapes& shapes = own().shapes;
        if (shapes.rows[Sum] != shapes.rows[A] || shapes.bytes[Sum] != shapes.bytes[B] ||
            shapes.rows[B] != shapes.bytes[A] / 4)
            abort();
        const int pairs = shapes.rows[B], columns = shapes.bytes[Sum] / 4;
        for (int row = 0; row < shapes.rows[Sum]; ++row) {
            float even[row_floats] = {}, odd[row_floats] = {};
            for (int pair = 0; pair < pairs; ++pair) {
                const uint32_t left = bits_of_float(a[row * row_floats + pair]);
                for (int column = 0; column < columns; ++column) {
                    const uint32_t right = bits_of_float(b[pair * row_floats + column]);
                    even[column] = add_product(left << 16, right << 16, even[column]);
                    odd[column] = add_product(left & 0xffff0000u, right & 0xffff0000u, odd[column]);
                }
            }
            for (int column = 0; column < columns; ++column) {
                float& sum = sums[row * row_floats + column];
                sum = normal(normal(sum) + normal(even[column] + odd[column]));
            }
        }
    }

  private:
    static constexpr int row_floats = tile_bytes / 4, tile_floats = tile_rows * row_floats;

    struct Bank {
        TileShapes shapes;
        bool configured = false;
        float at[tile_count][tile_floats];
    };

    static Bank& own() {
        static thread_local Bank bank;
        return bank;
    }

    static float* tile(int number) {
        Bank& bank = own();
        if (!bank.configured) abort();
        return bank.at[number];
    }

    static float normal(float x) {
        return (bits_of_float(x) & 0x7f800000u) ? x : float_of_bits(bits_of_float(x) & 0x80000000u);
    }

    // a · b + c, rounded once.
    static float add_product(uint32_t a, uint32_t b, float c) {
        return normal(fmaf(normal(float_of_bits(a)), normal(float_of_bits(b)), c));
    }
};

}  // namespace
