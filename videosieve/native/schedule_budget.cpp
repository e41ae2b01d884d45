// A budget of query-key pairs over the pairs of clusters of a head: tasks are heads.
#include <algorithm>
#include <limits>
#include <vector>

#include "schedule.hpp"
#include "threads.hpp"

namespace videosieve {

namespace {

struct Pair {
    float worth;
    int32_t place;  // row * columns + column
    int64_t cost;
};

bool comes_first(const Pair& a, const Pair& b) {
    return a.worth != b.worth ? a.worth > b.worth : a.place < b.place;
}

// Keeps the longest stretch of the pairs, in order, whose cost fits: halves of them at a time, without sorting all.
void take(Pair* first, Pair* end, int64_t budget, uint8_t* keep) {
    constexpr int few = 32;
    while (end - first > few) {
        Pair* middle = first + (end - first) / 2;
        std::nth_element(first, middle, end, comes_first);
        int64_t cost = 0;
        for (const Pair* pair = first; pair < middle; ++pair) cost += pair->cost;
        if (cost > budget) {
            end = middle;
            continue;
        }
        for (const Pair* pair = first; pair < middle; ++pair) keep[pair->place] = 1;
        budget -= cost;
        first = middle;
    }
    std::sort(first, end, comes_first);
    for (; first < end && first->cost <= budget; ++first) {
        keep[first->place] = 1;
        budget -= first->cost;
    }
}

}  // namespace

void compute(const videosieve_deal_call& call, const Kernels&) {
    const int64_t all = call.rows * call.columns;
    const auto deal_head = [&](int64_t head, int, float*) {
        const float* worth = call.worth + head * all;
        const int64_t *queries = call.query_sizes + head * call.rows, *keys = call.key_sizes + head * call.columns;
        uint8_t* keep = call.keep + head * all;
        const auto value = [&](int64_t place, int64_t column) {
            if (keys[column] == 0) return -std::numeric_limits<float>::infinity();
            return worth[place] == worth[place] ? worth[place] : 0.0f;
        };
        std::vector<Pair> pairs;
        pairs.reserve(all);
        int64_t budget = call.budgets[head];
        for (int64_t row = 0; row < call.rows; ++row) {
            int64_t best = 0;
            for (int64_t column = 1; column < call.columns; ++column)
                if (value(row * call.columns + column, column) > value(row * call.columns + best, best)) best = column;
            for (int64_t column = 0; column < call.columns; ++column) {
                const int64_t place = row * call.columns + column;
                const int64_t cost = queries[row] * std::max<int64_t>(keys[column] - 1, 0);
                keep[place] = column == best || keys[column] == 0;
                if (column == best)
                    budget -= cost;
                else if (keys[column] != 0)
                    pairs.push_back({value(place, column), static_cast<int32_t>(place), cost});
            }
        }
        if (budget >= 0) take(pairs.data(), pairs.data() + pairs.size(), budget, keep);
    };
    run_with_scratch(call.batch * call.heads, crew_of(call), 64 * call.batch * call.heads * all, 1, deal_head);
}

}  // namespace videosieve
