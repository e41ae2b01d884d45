#include "simd_portable.hpp"

namespace {
using Simd = Portable<4>;
}  // namespace

#include "table.hpp"

const videosieve::Kernels* videosieve::portable_kernels() {
    static constexpr Kernels kernels = table_named("portable");
    return &kernels;
}
