// Between memory and panels: values of any element become fp32, and rows of tokens become columns of a panel.
#pragma once

#include "kernels.hpp"
#include "pairs.hpp"

namespace {

using videosieve::Element;
using videosieve::Numbers;
using videosieve::QueryRows;

constexpr float log2_of_e = 1.44269504088896341f, ln_of_2 = 0.69314718055994531f;

// Panels are full_width queries wide; a last one that one vector holds is one vector wide.
constexpr int full_width = Simd::vectors * Simd::lanes;
constexpr int most_panels = (videosieve::task_queries + full_width - 1) / full_width;

inline int panel_width(int64_t queries_left) { return queries_left <= Simd::lanes ? Simd::lanes : full_width; }

inline float sum_lanes(Simd::Vector x) {
    float lanes[Simd::lanes];
    Simd::store(lanes, x);
    for (int width = Simd::lanes / 2; width; width /= 2)
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    return lanes[0];
}

// Scores are scale · unit · q·k. What queries are multiplied by when they are loaded, and what sums of products are multiplied
// by in its place where queries must stay the bf16 numbers that they are.
inline float query_factor(const Numbers& numbers, float unit) {
    return Simd::pairs ? (numbers.scale < 0.0f ? -1.0f : 1.0f) : numbers.scale * unit;
}
inline float sum_factor(const Numbers& numbers, float unit) { return Simd::pairs ? fabsf(numbers.scale) * unit : 1.0f; }

// Sums as scores; what is not paired has been scaled beforehand.
inline Simd::Vector scored(Simd::Vector sum, Simd::Vector factor) {
    return Simd::pairs ? Simd::multiply(sum, factor) : sum;
}

// Hands out pieces of a thread's scratch space.
class Space {
  public:
    explicit Space(float* floats) : floats_(floats) {}
    float* take(size_t count) {
        float* taken = floats_;
        floats_ += (count + 15) / 16 * 16;
        return taken;
    }
    static constexpr size_t slack = 16 * 128;  // what rounding up to cache lines may cost in all

  private:
    float* floats_;
};

inline const void* element_at(const void* x, Element element, int64_t index) {
    return static_cast<const char*>(x) + index * (element == Element::float32 ? 4 : 2);
}

inline void widen(const void* x, Element element, int64_t first, int count, float* y) {
    if (element == Element::float32) {
        memcpy(y, static_cast<const float*>(x) + first, sizeof(float) * count);
        return;
    }
    const uint16_t* p = static_cast<const uint16_t*>(x) + first;
    int i = 0;
    if (element == Element::bfloat16) {
        for (; i + Simd::lanes <= count; i += Simd::lanes) Simd::store(y + i, Simd::load_bfloat(p + i));
        for (; i < count; ++i) y[i] = float_of_bfloat(p[i]);
    } else {
        for (; i + Simd::lanes <= count; i += Simd::lanes) Simd::store(y + i, Simd::load_half(p + i));
        for (; i < count; ++i) y[i] = float_of_half(p[i]);
    }
}

inline void narrow(const float* x, void* y, Element element, int64_t first, int count) {
    if (element == Element::float32) {
        memcpy(static_cast<float*>(y) + first, x, sizeof(float) * count);
        return;
    }
    uint16_t* p = static_cast<uint16_t*>(y) + first;
    if (element == Element::bfloat16)
        for (int i = 0; i < count; ++i) p[i] = bfloat_of_float(x[i]);
    else
        for (int i = 0; i < count; ++i) p[i] = half_of_float(x[i]);
}

// Four rows of head_dim values, where queries and outputs wait between memory and panels.
struct FourRows {
    float* at[4];
    FourRows(float* space, int head_dim) : at{space, space + head_dim, space + 2 * head_dim, space + 3 * head_dim} {}
};

// Four rows of queries, times `factor`, become four columns of a panel.
inline void rows_to_columns(const FourRows& rows, int head_dim, float factor, float* columns, int width) {
    const float factors[4] = {factor, factor, factor, factor};
    int d = 0;
    for (; d + 4 <= head_dim; d += 4) {
        const float* const in[4] = {rows.at[0] + d, rows.at[1] + d, rows.at[2] + d, rows.at[3] + d};
        float* const at = columns + static_cast<int64_t>(d) * width;
        float* const out[4] = {at, at + width, at + 2 * width, at + 3 * width};
        Simd::transpose(in, out, factors);
    }
    for (; d < head_dim; ++d)
        for (int i = 0; i < 4; ++i) columns[static_cast<int64_t>(d) * width + i] = rows.at[i][d] * factor;
}

// The reverse: four columns of `count` values become rows, each times its factor.
inline void columns_to_rows(const float* columns, int width, const float factors[4], int count, const FourRows& rows) {
    int d = 0;
    for (; d + 4 <= count; d += 4) {
        const float* const at = columns + static_cast<int64_t>(d) * width;
        const float* const in[4] = {at, at + width, at + 2 * width, at + 3 * width};
        float* const out[4] = {rows.at[0] + d, rows.at[1] + d, rows.at[2] + d, rows.at[3] + d};
        Simd::transpose(in, out, factors);
    }
    for (; d < count; ++d)
        for (int i = 0; i < 4; ++i) rows.at[i][d] = columns[static_cast<int64_t>(d) * width + i] * factors[i];
}

// A panel [row_operands(head_dim), width] of the queries from `first` on, times `factor`; lanes past the last query are zero.
// `panel` has room for [panel_rows(head_dim), width].
inline void load_panel(const QueryRows& queries, int64_t first, Element element, int head_dim, float factor,
                       float* panel, int width, const FourRows& rows) {
    for (int lane = 0; lane < width; lane += 4) {
        for (int i = 0; i < 4; ++i) {
            const int64_t query = first + lane + i;
            if (query < queries.count)
                widen(queries.data, element, (queries.order ? queries.order[query] : query) * queries.stride, head_dim,
                      rows.at[i]);
            else
                memset(rows.at[i], 0, sizeof(float) * head_dim);
        }
        rows_to_columns(rows, head_dim, factor, panel + lane, width);
    }
    join_rows<Simd>(panel, head_dim, width);
    const int64_t filled = operands<Simd>(head_dim);
    memset(panel + filled * width, 0, sizeof(float) * (row_operands<Simd>(head_dim) - filled) * width);
}

}  // namespace
