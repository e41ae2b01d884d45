#include "kernels.hpp"

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512BF16__)
#include "simd_avx512_bf16.hpp"
// The tasks whose products may be of pairs; all else is AVX-512's.
#include "antidiagonals.hpp"
#include "centroid_mass.hpp"
#include "estimates.hpp"
#include "sampled.hpp"

namespace {

using videosieve::Kernels;

const Kernels& plain() { return *videosieve::avx512_kernels(); }

Kernels with_pairs() {
    Kernels kernels = plain();
    kernels.name = "avx512_bf16";
    kernels.pairs = true;
    kernels.attention = [](const videosieve::AttentionTask& task, float* scratch) {
        (task.numbers.pairs ? attention : plain().attention)(task, scratch);
    };
    kernels.sampled = [](const SampledTask& task, float* scratch) {
        (task.numbers.pairs ? sampled : plain().sampled)(task, scratch);
    };
    kernels.mass = [](const MassTask& task, float* scratch) {
        (task.numbers.pairs ? mass : plain().mass)(task, scratch);
    };
    kernels.antidiagonal = [](const AntidiagonalTask& task, float* scratch) {
        (task.numbers.pairs ? antidiagonal : plain().antidiagonal)(task, scratch);
    };
    kernels.antidiagonal_mass = [](const AntidiagonalMassTask& task, float* scratch) {
        (task.cells.numbers.pairs ? antidiagonal_mass : plain().antidiagonal_mass)(task, scratch);
    };
    kernels.centroid_mass = [](const CentroidMassTask& task, float* scratch) {
        (task.numbers.pairs ? centroid_mass : plain().centroid_mass)(task, scratch);
    };
    kernels.pair = pair;
    // As much as AVX-512's own: pairs take no more than the numbers in whose places they are.
    kernels.attention_scratch = attention_scratch;
    kernels.sampled_scratch = sampled_scratch;
    kernels.mass_scratch = mass_scratch;
    kernels.antidiagonal_scratch = antidiagonal_scratch;
    kernels.antidiagonal_mass_scratch = antidiagonal_mass_scratch;
    kernels.centroid_mass_scratch = centroid_mass_scratch;
    return kernels;
}

}  // namespace

const videosieve::Kernels* videosieve::avx512_bf16_kernels() {
    if (!avx512_kernels()) return nullptr;
    static const Kernels kernels = with_pairs();
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::avx512_bf16_kernels() { return nullptr; }
#endif
