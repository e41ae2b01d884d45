// How large the eight tiles are: what LDTILECFG reads.
#pragma once

#include <stdint.h>

namespace {

constexpr int tile_count = 8;
constexpr int tile_rows = 16;   // most
constexpr int tile_bytes = 64;  // of a row, most

struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t first_row = 0;  // where an interrupted load or store goes on
    uint8_t reserved[14] = {};
    uint16_t bytes[16] = {};  // of a row of every tile
    uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64, "LDTILECFG reads 64 bytes");

// All tiles as large as they can be.
inline TileShapes whole_tiles() {
    TileShapes shapes;
    for (int i = 0; i < tile_count; ++i) {
        shapes.bytes[i] = tile_bytes;
        shapes.rows[i] = tile_rows;
    }
    return shapes;
}

}  // namespace
