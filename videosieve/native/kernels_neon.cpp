#include "kernels.hpp"

#if defined(__aarch64__)
#include "simd_neon.hpp"
#include "table.hpp"

const videosieve::Kernels* videosieve::neon_kernels() {
    static constexpr Kernels kernels = table_named("neon");
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::neon_kernels() { return nullptr; }
#endif
