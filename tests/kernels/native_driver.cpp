// Calls every function of the native library with random shapes, strides and masks over memory of exactly the size that
// the call may touch, for address and undefined-behaviour sanitizers. Prints how many calls it made.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "abi.h"

namespace {

std::mt19937 generator(1);

int64_t draw(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(generator); }

// A tensor [batch, heads, tokens, head_dim] whose last value is the last of its memory.
struct Tensor {
    std::vector<char> memory;
    videosieve_tensor view;

    Tensor(int64_t batch, int64_t heads, int64_t tokens, int64_t head_dim, int element) {
        const int64_t pad = draw(0, 3), row = head_dim + pad, size = element == 0 ? 4 : 2;
        const bool tokens_first = draw(0, 1);
        const int64_t token_stride = tokens_first ? heads * row : row, head_stride = tokens_first ? row : tokens * row;
        const int64_t batch_stride = heads * tokens * row;
        const int64_t last = (batch - 1) * batch_stride + (heads - 1) * head_stride + (tokens - 1) * token_stride;
        memory.resize((last + head_dim) * size);
        for (size_t i = 0; i + size <= memory.size(); i += size) {
            const float value = std::normal_distribution<float>()(generator);
            if (element == 0)
                *reinterpret_cast<float*>(&memory[i]) = value;
            else
                *reinterpret_cast<uint16_t*>(&memory[i]) = static_cast<uint16_t>(draw(0x3000, 0x3c00));
        }
        view = {memory.data(), batch_stride, head_stride, token_stride, 0};
    }
};

std::vector<int64_t> offsets(int64_t blocks, int64_t tokens) {
    std::vector<int64_t> cuts{0, tokens};
    for (int64_t i = 1; i < blocks; ++i) cuts.push_back(draw(0, tokens));
    std::sort(cuts.begin(), cuts.end());
    return cuts;
}

// Permutations [heads, tokens]; the last of several heads keeps its order.
std::vector<int64_t> orders(int64_t heads, int64_t tokens) {
    std::vector<int64_t> all(heads * tokens);
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i) % tokens;
    for (int64_t h = 0; h == 0 || h + 1 < heads; ++h)
        std::shuffle(all.begin() + h * tokens, all.begin() + (h + 1) * tokens, generator);
    return all;
}

struct Sizes {
    int64_t batch = draw(1, 2), heads = draw(1, 3), queries = draw(1, 300), keys = draw(1, 400);
    int32_t head_dim = static_cast<int32_t>(draw(0, 1) ? 64 : draw(1, 70)), element = static_cast<int32_t>(draw(0, 2));
    int32_t threads = static_cast<int32_t>(draw(1, 3));
};

void require(const char* refusal, const std::vector<float>& written) {
    if (refusal) {
        std::printf("refused: %s\n", refusal);
        std::exit(1);
    }
    for (const float value : written)
        if (value == 12345.0f) {
            std::printf("a value was not written\n");
            std::exit(1);
        }
}

template <class Call>
Call call_of(const Sizes& s) {
    Call call{};
    call.batch = s.batch;
    call.heads = s.heads;
    call.queries = s.queries;
    call.keys = s.keys;
    call.head_dim = s.head_dim;
    call.element = s.element;
    call.threads = s.threads;
    call.scale = 0.3f;
    return call;
}

void attention(const Sizes& s, int set) {
    const int64_t group = draw(0, 1) ? s.heads : 1;  // all heads share one of the keys, or each has its own
    Tensor q(s.batch, s.heads, s.queries, s.head_dim, s.element),
        k(s.batch, s.heads / group, s.keys, s.head_dim, s.element),
        v(s.batch, s.heads / group, s.keys, s.head_dim, s.element);
    k.view.head_group = v.view.head_group = group;
    const int64_t rows = draw(1, 8), columns = draw(1, 30);
    std::vector<uint8_t> keep(s.heads * rows * columns);
    for (uint8_t& one : keep) one = draw(0, 2) == 0;
    const auto query_offsets = offsets(rows, s.queries), key_offsets = offsets(columns, s.keys);
    std::vector<char> output(s.batch * s.heads * s.queries * s.head_dim * (s.element == 0 ? 4 : 2));
    std::vector<float> lse(s.batch * s.heads * s.queries, 12345.0f);
    auto call = call_of<videosieve_attention_call>(s);
    call.q = q.view;
    call.k = k.view;
    call.v = v.view;
    call.mask = {keep.data(), query_offsets.data(), key_offsets.data(), rows, columns,
                 {0, rows * columns, columns, 1}, {0, 0}, {0, 0}, nullptr, nullptr, {0, 0}, {0, 0}};
    // One of the heads at least keeps its order, where there are several.
    const auto query_order = orders(s.heads, s.queries), key_order = orders(s.heads, s.keys);
    if (draw(0, 1)) {
        call.mask.query_order = query_order.data();
        call.mask.query_order_strides[1] = s.queries;
    }
    if (draw(0, 1)) {
        call.mask.key_order = key_order.data();
        call.mask.key_order_strides[1] = s.keys;
    }
    call.causal = s.keys >= s.queries && !call.mask.query_order && !call.mask.key_order && draw(0, 1);
    call.output = output.data();
    call.lse = lse.data();
    std::vector<float> both(draw(0, 1) ? lse.size() : 0, 12345.0f);
    Tensor means(s.batch, s.heads, columns, s.head_dim, s.element), values(s.batch, s.heads, columns, s.head_dim, s.element);
    std::vector<float> log_sizes(s.heads * columns, 0.5f);
    std::vector<uint8_t> answers(s.heads * rows * columns);
    for (size_t i = 0; i < answers.size(); ++i) answers[i] = !keep[i] && draw(0, 3);
    if (!both.empty())
        call.centroids = {means.view,  values.view, log_sizes.data(), answers.data(),
                          both.data(), {0, columns}, {0, rows * columns, columns, 1}};
    require(videosieve_attention(&call, set), lse);
    require(nullptr, both);
}

void pool(const Sizes& s, int set) {
    Tensor x(s.batch, s.heads, s.keys, s.head_dim, s.element);
    const int64_t blocks = draw(1, 30);
    const auto edges = offsets(blocks, s.keys), order = orders(s.heads, s.keys);
    std::vector<char> means(s.batch * s.heads * blocks * s.head_dim * (s.element == 0 ? 4 : 2));
    std::vector<float> spreads(s.batch * s.heads * blocks, 12345.0f);
    auto call = call_of<videosieve_pool_call>(s);
    call.x = x.view;
    call.offsets = edges.data();
    call.order = draw(0, 1) ? order.data() : nullptr;
    call.order_strides[1] = s.keys;
    call.blocks = blocks;
    call.means = means.data();
    call.spreads = spreads.data();
    call.queries = 1;
    require(videosieve_pool(&call, set), spreads);
}

void moments(const Sizes& s, int set) {
    const int64_t axes = draw(0, 2) ? draw(1, 20) : 0;
    Tensor x(s.batch, s.heads, s.keys, s.head_dim, s.element), y(s.batch, s.heads, s.keys, axes ? axes : 1, s.element);
    const int64_t blocks = draw(1, 30), values = s.batch * s.heads * blocks * s.head_dim;
    const auto edges = offsets(blocks, s.keys), order = orders(s.heads, s.keys);
    std::vector<float> variances(values, 12345.0f), covariances(values * axes, 12345.0f);
    auto call = call_of<videosieve_moments_call>(s);
    call.x = x.view;
    if (axes) call.y = y.view;
    call.y_dim = axes;
    call.offsets = edges.data();
    call.order = draw(0, 1) ? order.data() : nullptr;
    call.order_strides[1] = s.keys;
    call.blocks = blocks;
    call.variances = variances.data();
    call.covariances = axes ? covariances.data() : nullptr;
    call.queries = 1;
    const char* reason = videosieve_moments(&call, set);
    require(reason, variances);
    require(reason, covariances);
}

void centroid_mass(const Sizes& s, int set) {
    Tensor q(s.batch, s.heads, s.queries, s.head_dim, s.element), k(s.batch, s.heads, s.keys, s.head_dim, s.element);
    const int64_t rows = draw(1, 8);
    const auto edges = offsets(rows, s.queries), order = orders(s.heads, s.queries);
    const std::vector<float> log_sizes(s.keys, 0.5f);
    std::vector<float> result(s.batch * s.heads * rows * s.keys, 12345.0f);
    auto call = call_of<videosieve_centroid_mass_call>(s);
    call.q = q.view;
    call.k = k.view;
    call.log_sizes = log_sizes.data();
    call.offsets = edges.data();
    call.order = draw(0, 1) ? order.data() : nullptr;
    call.order_strides[1] = s.queries;
    call.rows = rows;
    call.mass = result.data();
    require(videosieve_centroid_mass(&call, set), result);
}

void sampled(const Sizes& s, int set) {
    Tensor q(s.batch, s.heads, s.queries, s.head_dim, s.element), k(s.batch, s.heads, s.keys, s.head_dim, s.element),
        v(s.batch, s.heads, s.keys, s.head_dim, s.element);
    const int64_t stretch = draw(1, 60);  // neighbouring keys that are kept or dropped together
    std::vector<uint8_t> mask(s.queries * s.keys);
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % stretch ? mask[i - 1] : draw(0, 2) == 0;
    auto call = call_of<videosieve_sampled_call>(s);
    call.q = q.view;
    call.k = k.view;
    call.v = v.view;
    call.mask_count = static_cast<int32_t>(draw(0, 8));
    for (int m = 0; m < call.mask_count; ++m) {
        call.masks[m] = mask.data();
        call.mask_strides[m][2] = s.keys;
    }
    const int64_t values = (1 + call.mask_count) * s.batch * s.heads * s.queries;
    std::vector<float> output(values * s.head_dim, 12345.0f), lse(values, 12345.0f);
    call.output = output.data();
    call.lse = lse.data();
    require(videosieve_sampled(&call, set), output);
    require(nullptr, lse);
}

void mass(const Sizes& s, int set) {
    Tensor q(s.batch, s.heads, s.queries, s.head_dim, s.element), k(s.batch, s.heads, s.keys, s.head_dim, s.element);
    auto call = call_of<videosieve_mass_call>(s);
    call.query_side = draw(1, 200);
    call.key_side = draw(1, 200);
    const int64_t rows = (s.queries + call.query_side - 1) / call.query_side;
    const int64_t columns = (s.keys + call.key_side - 1) / call.key_side;
    std::vector<float> lse(s.batch * s.heads * s.queries, 5.0f), result(s.batch * s.heads * rows * columns, 12345.0f);
    call.q = q.view;
    call.k = k.view;
    call.lse = lse.data();
    call.mass = result.data();
    require(videosieve_mass(&call, set), result);
}

void antidiagonal(const Sizes& s, int set) {
    Tensor q(s.batch, s.heads, s.queries, s.head_dim, s.element), k(s.batch, s.heads, s.keys, s.head_dim, s.element);
    auto call = call_of<videosieve_antidiagonal_call>(s);
    call.stride = draw(0, 3) ? draw(1, 20) : draw(1, 500);
    const int64_t rows = (s.queries + call.stride - 1) / call.stride, columns = (s.keys + call.stride - 1) / call.stride;
    std::vector<float> scores(s.batch * s.heads * rows * columns, 12345.0f);
    call.q = q.view;
    call.k = k.view;
    call.scores = scores.data();
    require(videosieve_antidiagonal(&call, set), scores);
}

void antidiagonal_mass(const Sizes& s, int set) {
    Tensor q(s.batch, s.heads, s.queries, s.head_dim, s.element), k(s.batch, s.heads, s.keys, s.head_dim, s.element);
    auto call = call_of<videosieve_antidiagonal_mass_call>(s);
    call.stride = draw(0, 3) ? draw(1, 20) : draw(1, 500);
    call.side = call.stride * draw(1, 70);
    const int64_t rows = (s.queries + call.side - 1) / call.side, columns = (s.keys + call.side - 1) / call.side;
    std::vector<float> result(s.batch * s.heads * rows * columns, 12345.0f);
    call.q = q.view;
    call.k = k.view;
    call.mass = result.data();
    require(videosieve_antidiagonal_mass(&call, set), result);
}

void cluster(const Sizes& s, int set) {
    Tensor x(s.batch, s.heads, s.keys, s.head_dim, s.element);
    const int64_t clusters = draw(1, 150), lanes = s.batch * s.heads;
    std::vector<float> centroids(lanes * clusters * s.head_dim), means(centroids.size(), 12345.0f);
    for (float& value : centroids) value = static_cast<float>(draw(-9, 9));
    std::vector<int32_t> labels(lanes * s.keys, -1), sizes(lanes * clusters, -1);
    std::vector<int64_t> order(lanes * s.keys, -1), edges(lanes * (clusters + 1), -1);
    auto call = call_of<videosieve_cluster_call>(s);
    call.x = x.view;
    call.centroids = centroids.data();
    call.clusters = clusters;
    call.labels = labels.data();
    call.means = means.data();
    call.sizes = sizes.data();
    call.iterations = draw(1, 3);
    call.order = order.data();
    call.offsets = edges.data();
    call.queries = 1;
    require(videosieve_cluster(&call, set), means);
}

void deal(const Sizes& s, int set) {
    const int64_t rows = draw(1, 90), columns = draw(1, 90), lanes = s.batch * s.heads;
    std::vector<float> worth(lanes * rows * columns);
    for (float& value : worth) value = draw(0, 20) ? static_cast<float>(draw(-9, 9)) : NAN;
    std::vector<int64_t> queries(lanes * rows), keys(lanes * columns), budgets(lanes);
    for (int64_t& size : queries) size = draw(0, 40);
    for (int64_t& size : keys) size = draw(0, 40);
    for (int64_t& budget : budgets) budget = draw(-9, 99999);
    std::vector<uint8_t> keep(worth.size(), 42);
    videosieve_deal_call call{};
    call.batch = s.batch;
    call.heads = s.heads;
    call.threads = s.threads;
    call.rows = rows;
    call.columns = columns;
    call.worth = worth.data();
    call.query_sizes = queries.data();
    call.key_sizes = keys.data();
    call.budgets = budgets.data();
    call.keep = keep.data();
    const char* reason = videosieve_deal(&call, set);
    require(reason, std::vector<float>(std::count(keep.begin(), keep.end(), 42), 12345.0f));
}

}  // namespace

int main() {
    int calls = 0;
    for (int set = 0; videosieve_instruction_set(set); ++set)
        for (int i = 0; i < 40; ++i)
            for (void (*function)(const Sizes&, int) : {attention, sampled, mass, antidiagonal, antidiagonal_mass,
                                                             cluster, pool, moments, deal, centroid_mass}) {
                function(Sizes(), set);
                ++calls;
            }
    std::printf("%d calls\n", calls);
    return 0;
}
