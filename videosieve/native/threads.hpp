// Runs numbered tasks on a few threads of its own.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <atomic>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace videosieve {

// Memory of one thread, aligned to a cache line.
class Scratch {
  public:
    explicit Scratch(size_t floats) {
        if (posix_memalign(&memory_, 64, floats * sizeof(float))) throw std::bad_alloc();
    }
    ~Scratch() { free(memory_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    float* floats() const { return static_cast<float*>(memory_); }

  private:
    void* memory_ = nullptr;
};

// Calls work(task, worker) for every task in [0, tasks) and worker in [0, threads). The caller's thread works too; the
// others live as long as the call, so that nothing survives it and a fork finds no pool without threads. Where the
// system refuses a thread, the others do its share.
template <class Work>
void run_tasks(int64_t tasks, int threads, const Work& work) {
    std::atomic<int64_t> next{0};
    const auto take = [&](int worker) {
        for (int64_t task = next.fetch_add(1, std::memory_order_relaxed); task < tasks;
             task = next.fetch_add(1, std::memory_order_relaxed))
            work(task, worker);
    };
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    try {
        for (int worker = 1; worker < threads; ++worker) others.emplace_back(take, worker);
    } catch (const std::system_error&) {
    }
    take(0);
    for (std::thread& other : others) other.join();
}

}  // namespace videosieve
