#include "kernels.hpp"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include "simd_avx512.hpp"

namespace {
using Simd = Avx512;
}  // namespace

#include "table.hpp"

const videosieve::Kernels* videosieve::avx512_kernels() {
    static constexpr Kernels kernels = table_named("avx512");
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::avx512_kernels() { return nullptr; }
#endif
