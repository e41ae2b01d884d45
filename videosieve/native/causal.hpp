// Chunks of keys that some queries of a panel do not see yet; included by attention.hpp, whose steps it takes apart.
#pragma once

namespace {

// Scores of keys that a lane does not see become −inf; `largest` is raised by the others. Lane i sees places < seen + i.
template <int Vectors>
inline void hide_later(const Chunk& chunk, int64_t seen, float* scores, Simd::Vector* largest) {
    constexpr int width = Vectors * Simd::lanes;
    float* score = scores;
    for (int span = 0; span < chunk.span_count; ++span)
        for (int64_t i = 0; i < chunk.spans[span].count; ++i, score += width) {
            const int64_t ahead = chunk.spans[span].start + i + 1 - seen;  // lanes that come before the key
            for (int64_t lane = 0; lane < ahead && lane < width; ++lane) score[lane] = -INFINITY;
            for (int j = 0; j < Vectors; ++j)
                largest[j] = Simd::largest(largest[j], Simd::load(score + j * Simd::lanes));
        }
}

template <int Vectors>
void attend_seen(const Chunk& chunk, const float* q, int head_dim, float* scores, const Softmax& softmax,
                 Prefetch& prefetch, int64_t seen) {
    Simd::Vector largest[Vectors], unused[Vectors];
    for (int j = 0; j < Vectors; ++j) unused[j] = largest[j] = Simd::load(softmax.largest + j * Simd::lanes);
    score_chunk<Vectors>(chunk, q, head_dim, scores, unused, prefetch);
    hide_later<Vectors>(chunk, seen, scores, largest);
    add_chunk<Simd, Vectors>(chunk, scores, head_dim, largest, softmax);
}

// One panel of `width` queries, the first of which sees the places below `seen`.
void attend_diagonal(const Chunk& chunk, const float* q, int head_dim, float* scores, const Softmax& softmax,
                     Prefetch& prefetch, int64_t seen, int width) {
    if (chunk.spans[0].start >= seen + width - 1) return;  // all of it lies ahead
    if (width == full_width)
        attend_seen<Simd::vectors>(chunk, q, head_dim, scores, softmax, prefetch, seen);
    else
        attend_seen<1>(chunk, q, head_dim, scores, softmax, prefetch, seen);
}

}  // namespace
