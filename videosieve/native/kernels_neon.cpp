#include "kernels.hpp"

#if defined(__aarch64__)
#include "simd_neon.hpp"
#include "attention.hpp"

const videosieve::Kernels* videosieve::neon_kernels() {
    static constexpr Kernels kernels{"neon", Simd::lanes, attention_scratch, attention, exp2_all};
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::neon_kernels() { return nullptr; }
#endif
