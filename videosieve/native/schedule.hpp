// Work for threads: a call becomes tasks of similar size, the largest first, and every thread takes the next one.
#pragma once

#include "abi.h"
#include "kernels.hpp"

namespace videosieve {

// Compute checked calls. A task's arithmetic does not depend on who runs it or when, so the result is the same, bit
// for bit, for any number of threads.
void attend(const videosieve_attention_call& call, const Kernels& kernels);
void sample(const videosieve_sampled_call& call, const Kernels& kernels);
void weigh_blocks(const videosieve_mass_call& call, const Kernels& kernels);
void score_antidiagonals(const videosieve_antidiagonal_call& call, const Kernels& kernels);
void weigh_antidiagonals(const videosieve_antidiagonal_mass_call& call, const Kernels& kernels);
void cluster(const videosieve_cluster_call& call, const Kernels& kernels);
void pool_blocks(const videosieve_pool_call& call, const Kernels& kernels);
void weigh_centroids(const videosieve_centroid_mass_call& call, const Kernels& kernels);

}  // namespace videosieve
