#include "kernels.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd_avx2.hpp"
#include "table.hpp"

const videosieve::Kernels* videosieve::avx2_kernels() {
    static constexpr Kernels kernels = table_named("avx2");
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::avx2_kernels() { return nullptr; }
#endif
