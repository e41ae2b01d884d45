// Random tiles through the emulated instructions, against fp64; compiled with REAL_TILES, against the processor's too, bit for
// bit. Prints how many products it compared.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "tiles_emulated.hpp"
#if defined(REAL_TILES)
#include "processor.hpp"
#include "tiles_amx.hpp"
#endif

namespace {

std::mt19937 generator(1);

int draw(int least, int most) { return std::uniform_int_distribution<int>(least, most)(generator); }

// What memory holds around a tile.
struct Matrix {
    int rows, bytes, stride;
    std::vector<uint8_t> memory;

    Matrix(int rows, int bytes) : rows(rows), bytes(bytes), stride(bytes + 2 * draw(0, 40)), memory(rows * stride, 0xa5) {}
    uint8_t* row(int i) { return memory.data() + i * stride; }
};

uint16_t draw_bfloat(bool odd) {
    static const uint16_t edges[] = {0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0x2000};
    if (odd && !draw(0, 9)) return edges[draw(0, 9)];
    return bfloat_of_float(std::normal_distribution<float>()(generator));
}

float bfloat_at(Matrix& x, int row, int number) {
    uint16_t bits;
    memcpy(&bits, x.row(row) + 2 * number, 2);
    return float_of_bfloat(bits);
}

template <class T>
std::vector<uint8_t> multiply(const TileShapes& shapes, Matrix& a, Matrix& b, const Matrix& start) {
    Matrix sums = start;
    T::configure(shapes);
    T::template load<0>(sums.row(0), sums.stride);
    T::template load<5>(a.row(0), a.stride);
    T::template load<7>(b.row(0), b.stride);
    T::template multiply<0, 5, 7>();
    T::template multiply<0, 5, 7>();
    T::template store<0>(sums.row(0), sums.stride);
    T::template zero<5>();
    T::template store<5>(a.row(0), a.stride);
    T::release();
    return sums.memory;
}

void fail(const char* what) {
    std::printf("%s\n", what);
    std::exit(1);
}

void check_fp64(Matrix& a, Matrix& b, Matrix& start, Matrix& sums) {
    for (int i = 0; i < a.rows; ++i)
        for (int j = 0; j < b.bytes / 4; ++j) {
            float before, after;
            memcpy(&before, start.row(i) + 4 * j, 4);
            memcpy(&after, sums.row(i) + 4 * j, 4);
            double exact = before, size = std::fabs(before);
            for (int pair = 0; pair < a.bytes / 4; ++pair)
                for (int half = 0; half < 2; ++half) {
                    const double product = 2.0 * bfloat_at(a, i, 2 * pair + half) * bfloat_at(b, pair, 2 * j + half);
                    exact += product;
                    size += std::fabs(product);
                }
            if (!(std::fabs(after - exact) <= 4e-6 * size + 1e-30)) fail("the emulator is not what fp64 says");
        }
}

#if defined(REAL_TILES)
bool same(const std::vector<uint8_t>& x, const std::vector<uint8_t>& y, Matrix& shape) {
    for (int i = 0; i < shape.rows; ++i)
        for (int at = 0; at < shape.stride; at += 4) {
            const int count = std::min(4, shape.stride - at);
            float one = 0, other = 0;
            memcpy(&one, &x[i * shape.stride + at], count);
            memcpy(&other, &y[i * shape.stride + at], count);
            if (memcmp(&one, &other, 4) && !(at < shape.bytes && one != one && other != other)) return false;
        }
    return true;
}
#endif

}  // namespace

int main() {
    int products = 0;
#if defined(REAL_TILES)
    if (!videosieve::has_amx_bf16()) fail("no tiles");
#endif
    for (int round = 0; round < 400; ++round) {
        const bool odd = round % 2;
        const int rows = draw(1, 16), pairs = draw(1, 16), columns = draw(1, 16);
        Matrix a(rows, 4 * pairs), b(pairs, 4 * columns), start(rows, 4 * columns);
        for (Matrix* x : {&a, &b})
            for (int i = 0; i < x->rows; ++i)
                for (int j = 0; j < x->bytes; j += 2) {
                    const uint16_t number = draw_bfloat(odd);
                    memcpy(x->row(i) + j, &number, 2);
                }
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < columns; ++j) {
                const float number = odd && !draw(0, 9) ? float_of_bits(draw(0, 9)) : std::normal_distribution<float>()(generator);
                memcpy(start.row(i) + 4 * j, &number, 4);
            }
        TileShapes shapes;
        shapes.rows[0] = shapes.rows[5] = static_cast<uint8_t>(rows);
        shapes.rows[7] = static_cast<uint8_t>(pairs);
        shapes.bytes[0] = shapes.bytes[7] = static_cast<uint16_t>(4 * columns);
        shapes.bytes[5] = static_cast<uint16_t>(4 * pairs);
        Matrix left = a;
        Matrix sums = start;
        sums.memory = multiply<EmulatedTiles>(shapes, left, b, start);
        for (int i = 0; i < rows; ++i) {
            for (int j = 0; j < left.stride; ++j)
                if (left.row(i)[j] != (j < left.bytes ? 0 : 0xa5)) fail("a store did not write its rows, or more");
            for (int j = sums.bytes; j < sums.stride; ++j)
                if (sums.row(i)[j] != 0xa5) fail("a store wrote past a row");
        }
        if (!odd) check_fp64(a, b, start, sums);
#if defined(REAL_TILES)
        Matrix other = a;
        if (!same(multiply<AmxTiles>(shapes, other, b, start), sums.memory, start))
            fail(odd ? "the processor says otherwise at the edges" : "the processor says otherwise");
        if (other.memory != left.memory) fail("zeros or stores differ from the processor's");
#endif
        ++products;
    }
    std::printf("%d products\n", products);
    return 0;
}
