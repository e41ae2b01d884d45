#include "kernels.hpp"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include "simd_avx512.hpp"
#include "attention.hpp"

const videosieve::Kernels* videosieve::avx512_kernels() {
    static constexpr Kernels kernels{"avx512", Simd::lanes, attention_scratch, attention, exp2_all};
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::avx512_kernels() { return nullptr; }
#endif
