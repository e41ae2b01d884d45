// Keys and values of a call as pairs of bf16, made once for all its tasks.
#pragma once

#include <functional>
#include <memory>

#include "tasks.hpp"
#include "threads.hpp"

namespace videosieve {

class PairedKeys {
  public:
    // Tokens in the order that a head's places have; null where they are places.
    using OrderOf = std::function<const int64_t*(int64_t batch, int64_t head)>;

    // `reads`: keys of all tasks together. Where that is little more than there are keys, or the pairs would be too many,
    // nothing is made, and every task copies what it reads.
    PairedKeys(const videosieve_attention_call& call, const Kernels& kernels, const OrderOf& order_of, int64_t reads);

    // Tells the keys of a head where their pairs are, if there are any.
    void lend(int64_t batch, int64_t head, KeyRuns& keys) const;

  private:
    int64_t head_of_pairs(int64_t batch, int64_t head) const { return (batch * heads_ + head) / group_; }

    int64_t heads_;
    int64_t group_;  // heads of the call that share pairs
    int64_t places_;
    int64_t k_floats_;  // of a head
    int64_t v_floats_;
    std::unique_ptr<Scratch> pairs_;  // keys and values of one head after another
};

}  // namespace videosieve
