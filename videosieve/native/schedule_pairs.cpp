#include "schedule_pairs.hpp"

namespace videosieve {

namespace {

constexpr int64_t least_reads = 2;                // of a key, on average, that are worth the pairs
constexpr int64_t most_bytes = int64_t{1} << 29;  // of all pairs
constexpr int64_t stretch = 1024;                 // places of a task

}  // namespace

PairedKeys::PairedKeys(const videosieve_attention_call& call, const Kernels& kernels, const OrderOf& order_of,
                       int64_t reads)
    : heads_(call.heads), group_(1), places_(call.keys) {
    if (!kernels.pair || !numbers_of(call).pairs) return;
    const bool shared = call.k.head_group == call.v.head_group && call.heads % std::max<int64_t>(call.k.head_group, 1) == 0;
    if (shared && !call.mask.key_order) group_ = std::max<int64_t>(call.k.head_group, 1);
    const int64_t heads = call.batch * call.heads / group_;
    // Rows begin on cache lines where head_dim allows it: each head takes whole ones.
    k_floats_ = (kernels.paired_keys(call.keys, call.head_dim) + 15) / 16 * 16;
    v_floats_ = (kernels.paired_values(call.keys, call.head_dim) + 15) / 16 * 16;
    const int64_t floats = heads * (k_floats_ + v_floats_);
    if (reads < least_reads * heads * call.keys || floats * static_cast<int64_t>(sizeof(float)) > most_bytes) return;
    pairs_ = std::make_unique<Scratch>(floats);
    const int64_t parts = (call.keys + stretch - 1) / stretch;
    const auto pair_part = [&](int64_t task, int, float* scratch) {
        const int64_t part = task % parts, head = task / parts * group_, b = head / call.heads, h = head % call.heads;
        KeyRuns keys = keys_of(call, &call.v, b, h, nullptr, 0);
        keys.order = order_of(b, h);
        float* const k = pairs_->floats() + task / parts * (k_floats_ + v_floats_);
        kernels.pair({numbers_of(call), keys, part * stretch, std::min(part * stretch + stretch, call.keys), k,
                      k + k_floats_},
                     scratch);
    };
    run_with_scratch(heads * parts, crew_of(call), 4 * heads * call.keys * call.head_dim, 1, pair_part);
}

void PairedKeys::lend(int64_t batch, int64_t head, KeyRuns& keys) const {
    if (!pairs_) return;
    keys.paired_k = pairs_->floats() + head_of_pairs(batch, head) * (k_floats_ + v_floats_);
    keys.paired_v = keys.paired_k + k_floats_;
    keys.places = places_;
}

}  // namespace videosieve
