// Attention of sampled queries over all keys and, from the same weights, over the keys that each mask keeps.
#pragma once

#include "attention.hpp"

namespace {

static_assert(full_width <= 32, "a mask holds one bit for each query of a panel");

constexpr int mask_group = 8;  // keys whose mask is read at a time; those that no query of the panel keeps are skipped

// Least kept share of the largest weight: below it, weights measured from the largest of all keys lose digits, and the
// mask is attended by itself.
constexpr float least_kept = 0x1p-30f;

size_t sampled_scratch(int head_dim, int masks) {
    const size_t q = panel_rows<Simd>(head_dim) * full_width, d = head_dim;
    return q + (1 + static_cast<size_t>(masks)) * (Softmax::floats(head_dim) + 48) + score_floats + chunk_keys * full_width +
           Chunks::space(head_dim) + 4 * d + Space::slack;
}

// The queries of one panel.
struct SampledPanel {
    const SampledTask& task;
    int64_t first;
    int64_t count;  // of queries; lanes past them are computed and not stored
    const float* q;
    float* scores;
    float* copy;
};

// Bit i of kept[key]: whether query i of the panel keeps it. Eight queries and eight keys at a time: the bytes of a key
// lie over one another, so that eight shifted rows make one byte for each of eight keys.
void read_mask(const SampledPanel& panel, int mask, int64_t first_key, int64_t keys, uint32_t* kept) {
    const int64_t stride = panel.task.mask_strides[mask];
    const uint8_t* rows = panel.task.masks[mask] + panel.first * stride + first_key;
    for (int64_t key = 0; key < keys; key += mask_group) {
        const int64_t count = keys - key < mask_group ? keys - key : mask_group;
        uint32_t bits[mask_group] = {};
        for (int first = 0; first < panel.count; first += 8) {
            uint64_t joined = 0;
            for (int i = 0; i < 8 && first + i < panel.count; ++i) {
                uint64_t row = 0;
                memcpy(&row, rows + (first + i) * stride + key, count);
                joined |= (row & 0x0101010101010101u) << i;
            }
            uint8_t bytes[mask_group];
            memcpy(bytes, &joined, sizeof bytes);
            for (int i = 0; i < mask_group; ++i) bits[i] |= static_cast<uint32_t>(bytes[i]) << first;
        }
        memcpy(kept + key, bits, sizeof(uint32_t) * count);
    }
}

// Adds keys [key, key + count) of a chunk to the pieces of another one.
inline void add_values(const Chunk& chunk, int& piece, int64_t& start, int64_t key, int64_t count, Chunk& kept) {
    kept.keys += count;
    while (count > 0) {
        while (key >= start + chunk.v.at[piece].count) start += chunk.v.at[piece++].count;
        const Piece& from = chunk.v.at[piece];
        const int64_t left = start + from.count - key, taken = count < left ? count : left;
        const float* v = from.at + (key - start) * chunk.v.stride;
        Piece* last = kept.v.count ? &kept.v.at[kept.v.count - 1] : nullptr;
        if (last && last->at + last->count * chunk.v.stride == v)
            last->count += taken;
        else
            kept.v.at[kept.v.count++] = {v, taken};
        key += taken;
        count -= taken;
    }
}

// The weights of the kept keys, measured from the largest score of all keys, and the values that they weigh.
template <int Vectors>
void add_kept(const SampledPanel& panel, int mask, const Chunk& chunk, int64_t first_key, const Simd::Vector* shrink,
              const Softmax& softmax) {
    constexpr int width = Vectors * Simd::lanes;
    uint32_t bits[chunk_keys];
    read_mask(panel, mask, first_key, chunk.keys, bits);
    Chunk kept;
    kept.v.count = 0;
    kept.keys = 0;
    kept.v.stride = chunk.v.stride;
    int piece = 0;
    int64_t start = 0;
    Simd::Vector sum[Vectors];
    for (int j = 0; j < Vectors; ++j) sum[j] = Simd::zero();
    for (int64_t key = 0; key < chunk.keys; key += mask_group) {
        const int64_t count = chunk.keys - key < mask_group ? chunk.keys - key : mask_group;
        uint32_t any = 0;
        for (int64_t i = 0; i < count; ++i) any |= bits[key + i];
        if (!any) continue;
        for (int64_t i = 0; i < count; ++i)
            for (int j = 0; j < Vectors; ++j) {
                const Simd::Vector weight = Simd::load(panel.scores + (key + i) * width + j * Simd::lanes);
                const Simd::Vector one = Simd::choose(bits[key + i] >> j * Simd::lanes, weight, Simd::zero());
                sum[j] = Simd::add(sum[j], one);
                Simd::store(panel.copy + (kept.keys + i) * width + j * Simd::lanes, one);
            }
        add_values(chunk, piece, start, key, count, kept);
    }
    add_weighted<Simd::Wide, Vectors>(kept, panel.copy, panel.task.numbers.head_dim, shrink, sum, softmax);
}

// One pass over the keys: all of them into softmax[0], those of every mask into the ones behind it.
template <int Vectors>
void sample_chunk(const SampledPanel& panel, const Chunk& chunk, int64_t first_key, const Softmax* softmax,
                  Prefetch& prefetch) {
    const int head_dim = panel.task.numbers.head_dim;
    Simd::Vector largest[Vectors], shrink[Vectors], sum[Vectors];
    for (int j = 0; j < Vectors; ++j) largest[j] = Simd::load(softmax[0].largest + j * Simd::lanes);
    score_chunk<Vectors>(chunk, panel.q, head_dim, panel.scores, largest, prefetch);
    weigh_chunk<Simd::Wide, Vectors>(chunk.keys, panel.scores, largest, softmax[0], shrink, sum);
    add_weighted<Simd::Wide, Vectors>(chunk, panel.scores, head_dim, shrink, sum, softmax[0]);
    for (int m = 0; m < panel.task.mask_count; ++m)
        add_kept<Vectors>(panel, m, chunk, first_key, shrink, softmax[1 + m]);
}

// One pass for one mask alone, its weights measured from the largest score that it keeps.
template <int Vectors>
void mask_chunk(const SampledPanel& panel, int mask, const Chunk& chunk, int64_t first_key, const Softmax& softmax,
                Prefetch& prefetch) {
    const int head_dim = panel.task.numbers.head_dim;
    uint32_t bits[chunk_keys];
    read_mask(panel, mask, first_key, chunk.keys, bits);
    Simd::Vector largest[Vectors], unused[Vectors];
    for (int j = 0; j < Vectors; ++j) largest[j] = unused[j] = Simd::load(softmax.largest + j * Simd::lanes);
    score_chunk<Vectors>(chunk, panel.q, head_dim, panel.scores, unused, prefetch);
    for (int64_t key = 0; key < chunk.keys; ++key)
        for (int j = 0; j < Vectors; ++j) {
            float* score = panel.scores + (key * Vectors + j) * Simd::lanes;
            const Simd::Vector kept =
                Simd::choose(bits[key] >> j * Simd::lanes, Simd::load(score), Simd::set(-INFINITY));
            largest[j] = Simd::largest(largest[j], kept);
            Simd::store(score, kept);
        }
    add_chunk<Simd::Wide, Vectors>(chunk, panel.scores, head_dim, largest, softmax);
}

// Calls chunk_work(chunk, first key, prefetch) for all keys.
template <class Work>
void for_keys(const SampledTask& task, float* space, const Work& chunk_work) {
    Chunks chunks(task.keys, task.numbers, space, false);  // the results are fp32: so are weights and values
    int64_t first_key = 0;
    for_chunks(chunks, 1, [&](const Chunk& chunk, Prefetch& prefetch) {
        chunk_work(chunk, first_key, prefetch);
        first_key += chunk.keys;
    });
}

// Whether what a mask keeps of some query weighs too little, or is no number, where all keys set the measure.
bool is_lost(const Softmax& softmax, int64_t queries) {
    for (int64_t i = 0; i < queries; ++i)
        if (!(softmax.sum[i] >= least_kept)) return true;
    return false;
}

template <int Vectors>
void sample_panel(const SampledTask& task, int64_t first, float* scratch) {
    constexpr int width = Vectors * Simd::lanes;
    const Numbers& numbers = task.numbers;
    const int head_dim = numbers.head_dim, variants = 1 + task.mask_count;
    const int64_t left = task.queries.count - first, count = left < width ? left : width;
    Space space(scratch);
    const FourRows rows(space.take(4 * static_cast<size_t>(head_dim)), head_dim);
    float* q = space.take(panel_rows<Simd>(head_dim) * full_width);
    float* scores = space.take(score_floats);
    float* copy = space.take(static_cast<size_t>(chunk_keys) * full_width);
    float* chunk_space = space.take(Chunks::space(head_dim));
    const SampledPanel panel{task, first, count, q, scores, copy};
    load_panel(task.queries, first, numbers.element, head_dim, query_factor(numbers, log2_of_e), q, width, rows);
    Softmax softmax[1 + videosieve::most_masks];
    for (int i = 0; i < variants; ++i) softmax[i] = Softmax(space, head_dim);
    for_keys(task, chunk_space, [&](const Chunk& chunk, int64_t first_key, Prefetch& prefetch) {
        sample_chunk<Vectors>(panel, chunk, first_key, softmax, prefetch);
    });
    for (int m = 0; m < task.mask_count; ++m) {
        Softmax& masked = softmax[1 + m];
        if (is_lost(masked, count)) {
            masked.clear(head_dim);
            for_keys(task, chunk_space, [&](const Chunk& chunk, int64_t first_key, Prefetch& prefetch) {
                mask_chunk<Vectors>(panel, m, chunk, first_key, masked, prefetch);
            });
        } else {
            memcpy(masked.largest, softmax[0].largest, sizeof(float) * width);
        }
    }
    for (int i = 0; i < variants; ++i)
        store_output(softmax[i], head_dim, first, width,
                     {task.output + i * task.output_stride, task.lse + i * task.lse_stride, Element::float32,
                      task.queries.count, nullptr},
                     rows);
}

void sampled(const SampledTask& task, float* scratch) {
    for (int64_t first = 0; first < task.queries.count; first += full_width) {
        if (panel_width(task.queries.count - first) == full_width)
            sample_panel<Simd::vectors>(task, first, scratch);
        else
            sample_panel<1>(task, first, scratch);
    }
}

}  // namespace
