#include "kernels.hpp"

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512BF16__)
#include "simd_avx512_bf16.hpp"

namespace {
using Simd = Avx512Pairs;
}  // namespace

#include "pairs_table.hpp"

namespace {

const Kernels& avx512() { return *videosieve::avx512_kernels(); }

struct NoScope {
    NoScope() {}
};

}  // namespace

const videosieve::Kernels* videosieve::avx512_bf16_kernels() {
    if (!avx512_kernels()) return nullptr;
    static const Kernels kernels = table_with_pairs<avx512, NoScope>("avx512_bf16");
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::avx512_bf16_kernels() { return nullptr; }
#endif
