#include "processor.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace videosieve {

namespace {

struct Leaf {
    unsigned a = 0, b = 0, c = 0, d = 0;
    bool found;

    Leaf(unsigned leaf, unsigned subleaf) : found(__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d)) {}
};

constexpr bool bit(uint64_t bits, int number) { return bits >> number & 1u; }

// AVX-512 BF16, for which __builtin_cpu_supports has a name in newer compilers only.
bool has_bf16_products() {
    const Leaf features(7, 0);
    return features.found && features.a >= 1 && bit(Leaf(7, 1).a, 5);
}

#if defined(__linux__)
// Which registers the system saves: XCR0, where it says that it may be asked.
uint64_t saved_registers() {
    if (!bit(Leaf(1, 0).c, 27)) return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

// Tiles take 8 KiB of every thread that uses them, so Linux wants to be asked: ARCH_REQ_XCOMP_PERM of their data.
[[maybe_unused]] bool may_use_tiles() {
    constexpr int tile_shapes = 17, tile_data = 18;
    constexpr long request = 0x1023;
    const Leaf features(7, 0);
    if (!features.found || !bit(features.d, 22) || !bit(features.d, 24)) return false;  // AMX-BF16, AMX-TILE
    const uint64_t saved = saved_registers();
    return bit(saved, tile_shapes) && bit(saved, tile_data) && !syscall(SYS_arch_prctl, request, tile_data);
}
#else
[[maybe_unused]] bool may_use_tiles() { return false; }
#endif

}  // namespace

// __builtin_cpu_supports also asks whether the operating system saves the registers.
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool has_avx512() { return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"); }

bool has_avx512_bf16() {
    static const bool has = has_avx512() && __builtin_cpu_supports("avx512bw") && has_bf16_products();
    return has;
}

// On Intel's they were slower than fp32 (docs/kernels.md), on AMD's up to twice as fast.
bool gains_by_pairs() { return !__builtin_cpu_is("intel"); }

#if !defined(VIDEOSIEVE_EMULATED_TILES)
bool has_amx_bf16() {
    static const bool has = has_avx512_bf16() && may_use_tiles();
    return has;
}
#endif

}  // namespace videosieve
#else
namespace videosieve {

bool has_avx2() { return false; }
bool has_avx512() { return false; }
bool has_avx512_bf16() { return false; }
bool gains_by_pairs() { return false; }
#if !defined(VIDEOSIEVE_EMULATED_TILES)
bool has_amx_bf16() { return false; }
#endif

}  // namespace videosieve
#endif

#if defined(VIDEOSIEVE_EMULATED_TILES)
bool videosieve::has_amx_bf16() { return true; }
#endif
