// Products of bf16 by the tiles of AMX. With VIDEOSIEVE_EMULATED_TILES the same in plain C++, for tests.
#include "kernels.hpp"

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512BF16__)
#define VIDEOSIEVE_HAS_PAIRS
#endif

#if defined(VIDEOSIEVE_EMULATED_TILES) || (defined(VIDEOSIEVE_HAS_PAIRS) && defined(__AMX_TILE__) && defined(__AMX_BF16__))

#if defined(VIDEOSIEVE_EMULATED_TILES)
#include "tiles_emulated.hpp"
#else
#include "tiles_amx.hpp"
#endif

#if defined(VIDEOSIEVE_HAS_PAIRS)
#include "simd_avx512_bf16.hpp"
#else
#include "simd_portable_pairs.hpp"
#endif

namespace {

#if defined(VIDEOSIEVE_EMULATED_TILES)
using TileSet = EmulatedTiles;
#else
using TileSet = AmxTiles;
#endif

#if defined(VIDEOSIEVE_HAS_PAIRS)
using PairSet = Avx512Pairs;
const videosieve::Kernels* plain_kernels() { return videosieve::avx512_kernels(); }
#else
using PairSet = PortablePairs;
const videosieve::Kernels* plain_kernels() { return videosieve::portable_kernels(); }
#endif

struct Simd : PairSet {
    using Tiles = TileSet;
};

// The tiles of a thread while it works on a task; the system need not keep them afterwards.
struct TileScope {
    TileScope() { TileSet::configure(whole_tiles()); }
    ~TileScope() { TileSet::release(); }
};

}  // namespace

#include "pairs_table.hpp"

namespace {

const Kernels& plain() { return *plain_kernels(); }

}  // namespace

const videosieve::Kernels* videosieve::amx_bf16_kernels() {
    if (!plain_kernels()) return nullptr;
    static const Kernels kernels = table_with_pairs<plain, TileScope>("amx_bf16");
    return &kernels;
}
#else
const videosieve::Kernels* videosieve::amx_bf16_kernels() { return nullptr; }
#endif
