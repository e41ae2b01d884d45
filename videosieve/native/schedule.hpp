// Work for threads: a call becomes tasks of similar size, the largest first, and every thread takes the next one.
#pragma once

#include "abi.h"
#include "kernels.hpp"

namespace videosieve {

// Compute checked calls. A task's arithmetic does not depend on who runs it or when, so the result is the same, bit
// for bit, for any number of threads.
#define VIDEOSIEVE_COMPUTE(name) void compute(const videosieve_##name##_call& call, const Kernels& kernels);
VIDEOSIEVE_CALLS(VIDEOSIEVE_COMPUTE)
#undef VIDEOSIEVE_COMPUTE

}  // namespace videosieve
