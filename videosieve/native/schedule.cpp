#include "schedule.hpp"

#include <string.h>

#include <algorithm>
#include <memory>

#include "threads.hpp"

namespace videosieve {

namespace {

// Fewest multiplications that are worth another thread: starting one takes about as long.
constexpr int64_t work_per_thread = 4 << 20;

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
    explicit Mask(const videosieve_mask& mask) : mask_(mask) {}

    const int64_t* query_offsets(int64_t b, int64_t h) const {
        return mask_.query_offsets + b * mask_.query_offset_strides[0] + h * mask_.query_offset_strides[1];
    }
    const int64_t* key_offsets(int64_t b, int64_t h) const {
        return mask_.key_offsets + b * mask_.key_offset_strides[0] + h * mask_.key_offset_strides[1];
    }
    bool kept(int64_t b, int64_t h, int64_t row, int64_t column) const {
        return row_at(b, h, row)[column * mask_.keep_strides[3]];
    }
    bool same_row(int64_t b, int64_t h, int64_t row, int64_t other) const {
        if (mask_.keep_strides[3] == 1) return !memcmp(row_at(b, h, row), row_at(b, h, other), mask_.columns);
        for (int64_t c = 0; c < mask_.columns; ++c)
            if (kept(b, h, row, c) != kept(b, h, other, c)) return false;
        return true;
    }
    // Kept keys of a row as runs of neighbours; blocks that touch become one run.
    void runs(int64_t b, int64_t h, int64_t row, std::vector<Run>& runs) const {
        runs.clear();
        const int64_t* offsets = key_offsets(b, h);
        const uint8_t* keep = row_at(b, h, row);
        for (int64_t c = 0; c < mask_.columns; ++c) {
            if (!keep[c * mask_.keep_strides[3]] || offsets[c] == offsets[c + 1]) continue;
            if (!runs.empty() && runs.back().start + runs.back().count == offsets[c])
                runs.back().count += offsets[c + 1] - offsets[c];
            else
                runs.push_back({offsets[c], offsets[c + 1] - offsets[c]});
        }
    }
    int64_t rows() const { return mask_.rows; }
    int64_t columns() const { return mask_.columns; }

  private:
    const uint8_t* row_at(int64_t b, int64_t h, int64_t row) const {
        return mask_.keep + b * mask_.keep_strides[0] + h * mask_.keep_strides[1] + row * mask_.keep_strides[2];
    }

    const videosieve_mask& mask_;
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
        mask.runs(b, h, row, runs);
        int64_t keys = 0;
        for (const Run& run : runs) keys += run.count;
        const int64_t parts = (queries + task_queries - 1) / task_queries;
        const int64_t side = ((queries + parts - 1) / parts + task_grain - 1) / task_grain * task_grain;
        for (int64_t first = 0; first < queries; first += side)
            tiles.push_back({b, h, row, offsets[row] + first, std::min(side, queries - first), keys});
    }
}

// Cost classes a third apart: within a class tiles keep their order, so that neighbours share keys in the caches.
int cost_class(const Tile& tile) {
    int64_t cost = (tile.keys + 1) * tile.queries;
    int exponent = 0;
    for (; cost >= 8; cost >>= 1) ++exponent;
    return exponent * 4 + static_cast<int>(cost & 3);
}

template <class T>
T* advance(const void* data, int64_t bytes) {
    return reinterpret_cast<T*>(const_cast<char*>(static_cast<const char*>(data)) + bytes);
}

AttentionTask task_of(const videosieve_attention_call& call, const Tile& tile, const std::vector<Run>& runs) {
    const int64_t size = call.element == 0 ? 4 : 2, head = tile.batch * call.heads + tile.head;
    const auto at = [&](const videosieve_tensor& x, int64_t token) {
        const int64_t offset = tile.batch * x.batch_stride + tile.head * x.head_stride + token * x.token_stride;
        return advance<void>(x.data, offset * size);
    };
    const int64_t query = head * call.queries + tile.first;
    return {at(call.q, tile.first),
            at(call.k, 0),
            at(call.v, 0),
            call.q.token_stride,
            call.k.token_stride,
            call.v.token_stride,
            runs.data(),
            static_cast<int64_t>(runs.size()),
            static_cast<int32_t>(tile.queries),
            call.head_dim,
            static_cast<Element>(call.element),
            call.scale,
            advance<void>(call.output, query * call.head_dim * size),
            call.lse + query};
}

}  // namespace

void attend(const videosieve_attention_call& call, const Kernels& kernels) {
    const Mask mask(call.mask);
    std::vector<Tile> tiles;
    std::vector<Run> first_runs;
    for (int64_t b = 0; b < call.batch; ++b)
        for (int64_t h = 0; h < call.heads; ++h) add_head(mask, b, h, first_runs, tiles);
    std::stable_sort(tiles.begin(), tiles.end(),
                     [](const Tile& a, const Tile& b) { return cost_class(a) > cost_class(b); });
    int64_t work = 0;
    for (const Tile& tile : tiles) work += (tile.keys + 1) * tile.queries * call.head_dim;
    const int64_t tasks = static_cast<int64_t>(tiles.size());
    const int threads =
        static_cast<int>(std::min<int64_t>({call.threads, std::max<int64_t>(tasks, 1), work / work_per_thread + 1}));
    std::vector<std::unique_ptr<Scratch>> scratch;
    std::vector<std::vector<Run>> runs(threads);
    for (int i = 0; i < threads; ++i) {
        scratch.push_back(std::make_unique<Scratch>(kernels.attention_scratch(call.head_dim)));
        runs[i].reserve(mask.columns());
    }
    run_tasks(tasks, threads, [&](int64_t task, int worker) {
        const Tile& tile = tiles[task];
        mask.runs(tile.batch, tile.head, tile.row, runs[worker]);
        kernels.attention(task_of(call, tile, runs[worker]), scratch[worker]->floats());
    });
}

}  // namespace videosieve
