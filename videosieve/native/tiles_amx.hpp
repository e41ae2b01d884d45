// The tile instructions of AMX: eight tiles of up to 16 rows of 64 bytes. Included by one translation unit only.
// Written as they are assembled, because intrinsics of some compilers do not say which memory they touch.
#pragma once

#include <stdint.h>

#include "tile_shapes.hpp"

namespace {

struct AmxTiles {
    static void configure(const TileShapes& shapes) { __asm__ volatile("ldtilecfg %0" : : "m"(shapes)); }
    static void release() { __asm__ volatile("tilerelease" : : : "memory"); }

    template <int Tile>
    static inline __attribute__((always_inline)) void zero() {
        __asm__ volatile("tilezero %%tmm%c0" : : "i"(Tile));
    }

    // Rows are `stride` bytes apart.
    template <int Tile>
    static inline __attribute__((always_inline)) void load(const void* from, int64_t stride) {
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
    }

    template <int Tile>
    static inline __attribute__((always_inline)) void store(void* to, int64_t stride) {
        __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
    }

    // Sum + A · B: A holds rows of pairs of bf16, B one row for every pair of a row of A, Sum fp32.
    template <int Sum, int A, int B>
    static inline __attribute__((always_inline)) void multiply() {
        __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
    }
};

}  // namespace
