// Attention of a chunk by tiles: sums of products stay as the tiles store them, and are scaled when they are weighed.
// Included by attention.hpp.
#pragma once

namespace {

// The largest of sums [keys, width], in four parts that need not wait for one another.
template <int Vectors>
inline void largest_sums(int64_t keys, const float* sums, Simd::Vector* largest) {
    constexpr int parts = 4, width = Vectors * Simd::lanes;
    Simd::Vector part[parts][Vectors];
    for (int i = 0; i < parts; ++i)
        for (int j = 0; j < Vectors; ++j) part[i][j] = Simd::set(-INFINITY);
    int64_t key = 0;
    for (; key + parts <= keys; key += parts)
        for (int i = 0; i < parts; ++i)
            for (int j = 0; j < Vectors; ++j)
                part[i][j] = Simd::largest(part[i][j], Simd::load(sums + (key + i) * width + j * Simd::lanes));
    for (; key < keys; ++key)
        for (int j = 0; j < Vectors; ++j)
            part[0][j] = Simd::largest(part[0][j], Simd::load(sums + key * width + j * Simd::lanes));
    for (int j = 0; j < Vectors; ++j)
        largest[j] = Simd::largest(Simd::largest(part[0][j], part[1][j]), Simd::largest(part[2][j], part[3][j]));
}

// Sums become pairs of weights in place, and the softmax goes on but for the values. `factor`: as in a chunk, the sums are
// not scaled yet.
template <class S, int Vectors>
inline void weigh_sums(int64_t keys, float* sums, float factor, int head_dim, const Softmax& softmax, Prefetch& prefetch) {
    constexpr int width = Vectors * Simd::lanes;
    const Simd::Vector unit = Simd::set(factor);
    Simd::Vector largest[Vectors], shrink[Vectors], offset[Vectors], sum[Vectors];
    largest_sums<Vectors>(keys, sums, largest);
    for (int j = 0; j < Vectors; ++j) {
        float* const stored = softmax.largest + j * Simd::lanes;
        const Simd::Vector before = Simd::load(stored);
        largest[j] = Simd::largest(before, Simd::multiply(largest[j], unit));
        Simd::store(stored, largest[j]);
        largest[j] = Simd::finite_or_zero(largest[j]);
        shrink[j] = Simd::exp2(Simd::subtract(before, largest[j]));
        offset[j] = Simd::subtract(Simd::zero(), largest[j]);
        sum[j] = Simd::zero();
    }
    shrink_output<Vectors>(head_dim, shrink, softmax.output);
    const auto weight = [&](int64_t key, int j) {
        return Simd::exp2(Simd::multiply_add(Simd::load(sums + key * width + j * Simd::lanes), unit, offset[j]));
    };
    const auto put = [&](int64_t key, int j, Simd::Vector upper, Simd::Vector lower) {
        sum[j] = Simd::add(sum[j], Simd::add(upper, lower));
        Simd::store(sums + key / 2 * width + j * Simd::lanes, S::pair(upper, lower));
    };
    int64_t key = 0;
    for (; key + 1 < keys; key += 2) {
        if (key % 8 == 0) prefetch.follow(8);
        for (int j = 0; j < Vectors; ++j) put(key, j, weight(key, j), weight(key + 1, j));
    }
    if (key < keys)
        for (int j = 0; j < Vectors; ++j) put(key, j, weight(key, j), Simd::zero());
    clear_rest<Vectors>(keys, sums);
    for (int j = 0; j < Vectors; ++j) {
        float* const stored = softmax.sum + j * Simd::lanes;
        Simd::store(stored, Simd::multiply_add(Simd::load(stored), shrink[j], sum[j]));
    }
}

template <int Vectors>
void attend_by_tiles(const Chunk& chunk, const float* q, int head_dim, float* scores, const Softmax& softmax,
                     Prefetch& prefetch) {
    multiply_chunk<Vectors>(chunk, q, head_dim, scores);
    weigh_sums<Simd, Vectors>(chunk.keys, scores, chunk.factor, head_dim, softmax, prefetch);
    add_turned<Vectors>(chunk, scores, head_dim, softmax.output);
}

}  // namespace
