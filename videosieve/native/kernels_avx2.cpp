#include "kernels.hpp"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd_avx2.hpp"
#include "attention.hpp"

const videosieve::Kernels* videosieve::avx2_kernels() {
    static constexpr Kernels kernels{"avx2", Simd::lanes, attention_scratch, attention, exp2_all};
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::avx2_kernels() { return nullptr; }
#endif
