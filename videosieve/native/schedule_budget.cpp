// A budget of query-key pairs over the pairs of clusters of a head: tasks are heads.
#include <string.h>

#include <algorithm>
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

// Worths of one order of magnitude, ascending: the sign, the exponent and two more bits of a number.
constexpr int order_bits = 11;

uint32_t order_of(float worth) {
    uint32_t bits;
    memcpy(&bits, &worth, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return bits >> (32 - order_bits);
}

struct Head {
    const float* worth;  // [rows, columns]
    const int64_t* queries;
    const int64_t* keys;
    int64_t rows;
    int64_t columns;
    uint8_t* keep;

    // What is no number is worth 0, and the two zeros are one.
    float value(int64_t place) const { return worth[place] == worth[place] ? worth[place] + 0.0f : 0.0f; }

    // Columns with keys but the best of the row; calls work(place, value, cost).
    template <class Work>
    void others(const std::vector<int64_t>& best, const Work& work) const {
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t column = 0; column < columns; ++column)
                if (keys[column] != 0 && column != best[row]) {
                    const int64_t place = row * columns + column;
                    work(place, value(place), queries[row] * (keys[column] - 1));
                }
    }

    // The first column of most worth of every row, which is kept like those without keys; 0 where none has keys.
    std::vector<int64_t> keep_best() const {
        std::vector<int64_t> best(rows, -1);
        for (int64_t row = 0; row < rows; ++row) {
            float most = 0.0f;
            for (int64_t column = 0; column < columns; ++column) {
                keep[row * columns + column] = keys[column] == 0;
                if (keys[column] == 0) continue;
                const float here = value(row * columns + column);
                if (best[row] >= 0 && !(here > most)) continue;
                best[row] = column;
                most = here;
            }
            if (best[row] < 0) best[row] = 0;
            keep[row * columns + best[row]] = 1;
        }
        return best;
    }

    // Whole orders of magnitude while the budget lasts, and of the one that it does not last for the first pairs.
    void deal(int64_t budget) const {
        const std::vector<int64_t> best = keep_best();
        for (int64_t row = 0; row < rows; ++row) budget -= queries[row] * std::max<int64_t>(keys[best[row]] - 1, 0);
        if (budget < 0) return;
        std::vector<int64_t> costs(1 << order_bits, 0);
        others(best, [&](int64_t, float worth, int64_t cost) { costs[order_of(worth)] += cost; });
        int64_t last = (1 << order_bits) - 1;
        for (; last >= 0 && costs[last] <= budget; --last) budget -= costs[last];
        std::vector<Pair> pairs;
        others(best, [&](int64_t place, float worth, int64_t cost) {
            const int64_t order = order_of(worth);
            if (order > last)
                keep[place] = 1;
            else if (order == last)
                pairs.push_back({worth, static_cast<int32_t>(place), cost});
        });
        take(pairs.data(), pairs.data() + pairs.size(), budget, keep);
    }
};

}  // namespace

void compute(const videosieve_deal_call& call, const Kernels&) {
    const int64_t all = call.rows * call.columns;
    const auto deal_head = [&](int64_t head, int, float*) {
        const Head one{call.worth + head * all, call.query_sizes + head * call.rows, call.key_sizes + head * call.columns,
                       call.rows, call.columns, call.keep + head * all};
        one.deal(call.budgets[head]);
    };
    run_with_scratch(call.batch * call.heads, crew_of(call), 64 * call.batch * call.heads * all, 1, deal_head);
}

}  // namespace videosieve
