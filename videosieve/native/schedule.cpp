#include "schedule.hpp"

#include <string.h>

#include <algorithm>

#include "schedule_pairs.hpp"
#include "tasks.hpp"
#include "threads.hpp"

namespace videosieve {

namespace {

// Tasks are multiples of this many queries where there is a choice: whole vectors in every instruction set.
constexpr int64_t task_grain = 32;

// Neighbouring queries of one head that keep the same keys.
struct Tile {
    int64_t batch;
    int64_t head;
    int64_t row;
    int64_t first;
    int64_t queries;
    int64_t keys;
};

class Mask {
  public:
    explicit Mask(const videosieve_attention_call& call)
        : mask_(call.mask),
          centroids_(call.centroids),
          answered_(call.centroids.keys.data),
          ahead_(call.causal ? call.keys - call.queries : everything) {}

    // Keys that the queries before `end` see.
    int64_t seen(int64_t end) const { return ahead_ == everything ? everything : end + ahead_; }

    const int64_t* query_offsets(int64_t b, int64_t h) const {
        return mask_.query_offsets + b * mask_.query_offset_strides[0] + h * mask_.query_offset_strides[1];
    }
    const int64_t* key_offsets(int64_t b, int64_t h) const {
        return mask_.key_offsets + b * mask_.key_offset_strides[0] + h * mask_.key_offset_strides[1];
    }
    bool same_row(int64_t b, int64_t h, int64_t row, int64_t other) const {
        return same(row_at(b, h, row), row_at(b, h, other), mask_.keep_strides[3]) &&
               (!answered_ ||
                same(answers_at(b, h, row), answers_at(b, h, other), centroids_.answer_strides[3]));
    }
    // Kept keys of a row below `seen` as runs of neighbours; blocks that touch become one run.
    void runs(int64_t b, int64_t h, int64_t row, int64_t seen, std::vector<Run>& runs) const {
        runs.clear();
        const int64_t* offsets = key_offsets(b, h);
        const uint8_t* keep = row_at(b, h, row);
        for (int64_t c = 0; c < mask_.columns && offsets[c] < seen; ++c) {
            if (!keep[c * mask_.keep_strides[3]] || offsets[c] == offsets[c + 1]) continue;
            const int64_t count = std::min(offsets[c + 1], seen) - offsets[c];
            if (!runs.empty() && runs.back().start + runs.back().count == offsets[c])
                runs.back().count += count;
            else
                runs.push_back({offsets[c], count});
        }
    }
    // Centroids that answer in a row, as runs of neighbours.
    void answers(int64_t b, int64_t h, int64_t row, std::vector<Run>& runs) const {
        runs.clear();
        if (!answered_) return;
        const int64_t* offsets = key_offsets(b, h);
        const uint8_t* answers = answers_at(b, h, row);
        for (int64_t c = 0; c < mask_.columns; ++c) {
            if (!answers[c * centroids_.answer_strides[3]] || offsets[c] == offsets[c + 1]) continue;
            if (!runs.empty() && runs.back().start + runs.back().count == c)
                ++runs.back().count;
            else
                runs.push_back({c, 1});
        }
    }
    int64_t rows() const { return mask_.rows; }

  private:
    bool same(const uint8_t* row, const uint8_t* other, int64_t stride) const {
        if (stride == 1) return !memcmp(row, other, mask_.columns);
        for (int64_t c = 0; c < mask_.columns; ++c)
            if (row[c * stride] != other[c * stride]) return false;
        return true;
    }
    const uint8_t* answers_at(int64_t b, int64_t h, int64_t row) const {
        const int64_t* strides = centroids_.answer_strides;
        return centroids_.answers + b * strides[0] + h * strides[1] + row * strides[2];
    }
    const uint8_t* row_at(int64_t b, int64_t h, int64_t row) const {
        return mask_.keep + b * mask_.keep_strides[0] + h * mask_.keep_strides[1] + row * mask_.keep_strides[2];
    }

    const videosieve_mask& mask_;
    const videosieve_centroids& centroids_;
    bool answered_;
    int64_t ahead_;
};

// Orders of the heads; null for a head that keeps its own.
class Orders {
  public:
    Orders(const int64_t* order, const int64_t* strides, int64_t batch, int64_t heads, int64_t tokens) : heads_(heads) {
        for (int64_t b = 0; order && b < batch; ++b)
            for (int64_t h = 0; h < heads; ++h) {
                const int64_t* of_head = order + b * strides[0] + h * strides[1];
                int64_t i = 0;
                while (i < tokens && of_head[i] == i) ++i;
                orders_.push_back(i < tokens ? of_head : nullptr);
            }
    }
    const int64_t* of(int64_t b, int64_t h) const { return orders_.empty() ? nullptr : orders_[b * heads_ + h]; }

  private:
    int64_t heads_;
    std::vector<const int64_t*> orders_;
};

// Neighbouring rows that keep the same keys are joined, and what is too long for a task is cut into equal parts.
void add_head(const Mask& mask, int64_t b, int64_t h, std::vector<Run>& runs, std::vector<Tile>& tiles) {
    const int64_t* offsets = mask.query_offsets(b, h);
    for (int64_t row = 0, end; row < mask.rows(); row = end) {
        end = row + 1;
        while (end < mask.rows() && offsets[end + 1] - offsets[row] <= task_queries &&
               mask.same_row(b, h, row, end))
            ++end;
        const int64_t queries = offsets[end] - offsets[row];
        if (!queries) continue;
        mask.answers(b, h, row, runs);
        int64_t answers = 0;
        for (const Run& run : runs) answers += run.count;
        const int64_t parts = (queries + task_queries - 1) / task_queries;
        const int64_t side = ((queries + parts - 1) / parts + task_grain - 1) / task_grain * task_grain;
        for (int64_t first = 0; first < queries; first += side) {
            const int64_t count = std::min(side, queries - first);
            int64_t keys = answers;
            mask.runs(b, h, row, mask.seen(offsets[row] + first + count), runs);
            for (const Run& run : runs) keys += run.count;
            tiles.push_back({b, h, row, offsets[row] + first, count, keys});
        }
    }
}

KeyRuns centroids_of(const videosieve_attention_call& call, int64_t b, int64_t h, const std::vector<Run>& runs) {
    const videosieve_centroids& of = call.centroids;
    return {head_of(of.keys, call.element, b, h),
            head_of(of.values, call.element, b, h),
            of.keys.token_stride,
            of.values.token_stride,
            runs.data(),
            static_cast<int64_t>(runs.size()),
            nullptr,
            of.log_sizes + b * of.log_size_strides[0] + h * of.log_size_strides[1]};
}

// Cost classes a third apart: within a class tiles keep their order, so that neighbours share keys in the caches.
int cost_class(const Tile& tile) {
    int64_t cost = (tile.keys + 1) * tile.queries;
    int exponent = 0;
    for (; cost >= 8; cost >>= 1) ++exponent;
    return exponent * 4 + static_cast<int>(cost & 3);
}

}  // namespace

void compute(const videosieve_attention_call& call, const Kernels& kernels) {
    const Mask mask(call);
    std::vector<Tile> tiles;
    std::vector<Run> first_runs;
    for (int64_t b = 0; b < call.batch; ++b)
        for (int64_t h = 0; h < call.heads; ++h) add_head(mask, b, h, first_runs, tiles);
    std::stable_sort(tiles.begin(), tiles.end(),
                     [](const Tile& a, const Tile& b) { return cost_class(a) > cost_class(b); });
    int64_t work = 0, reads = 0;
    for (const Tile& tile : tiles) {
        work += (tile.keys + 1) * tile.queries * call.head_dim;
        reads += tile.keys;
    }
    std::vector<std::vector<Run>> runs(call.threads), answers(call.threads);
    const Numbers numbers = numbers_of(call);
    const Orders query_orders(call.mask.query_order, call.mask.query_order_strides, call.batch, call.heads,
                              call.queries);
    const Orders key_orders(call.mask.key_order, call.mask.key_order_strides, call.batch, call.heads, call.keys);
    const PairedKeys pairs(call, kernels, [&](int64_t b, int64_t h) { return key_orders.of(b, h); }, reads);
    const auto attend_tile = [&](int64_t task, int worker, float* scratch) {
        const Tile& tile = tiles[task];
        mask.runs(tile.batch, tile.head, tile.row, mask.seen(tile.first + tile.queries), runs[worker]);
        const int64_t* query_order = query_orders.of(tile.batch, tile.head);
        // Rows are counted from the first of the tile where they are in order, else from the first of the head.
        const int64_t first = query_order ? 0 : tile.first;
        QueryRows queries = queries_of(call, tile.batch, tile.head, first, tile.queries);
        queries.order = query_order ? query_order + tile.first : nullptr;
        KeyRuns keys = keys_of(call, &call.v, tile.batch, tile.head, runs[worker].data(), runs[worker].size());
        keys.order = key_orders.of(tile.batch, tile.head);
        pairs.lend(tile.batch, tile.head, keys);
        const int64_t row = (tile.batch * call.heads + tile.head) * call.queries + first;
        AttentionTask part{numbers, queries, keys, moved(call.output, call.element, row * call.head_dim),
                           call.lse + row, {}};
        part.seen = mask.seen(tile.first + 1);
        if (call.centroids.keys.data) {
            mask.answers(tile.batch, tile.head, tile.row, answers[worker]);
            part.centroids = centroids_of(call, tile.batch, tile.head, answers[worker]);
            part.answered_lse = call.centroids.lse + row;
        }
        kernels.attention(part, scratch);
    };
    run_with_scratch(static_cast<int64_t>(tiles.size()), crew_of(call), work,
                     kernels.attention_scratch(call.head_dim), attend_tile);
}

}  // namespace videosieve
