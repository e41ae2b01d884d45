#include "simd_portable.hpp"
#include "attention.hpp"

const videosieve::Kernels* videosieve::portable_kernels() {
    static constexpr Kernels kernels{"portable", Simd::lanes, attention_scratch, attention, exp2_all};
    return &kernels;
}
