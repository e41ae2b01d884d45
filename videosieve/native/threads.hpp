// Runs numbered tasks on a few threads of its own.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <atomic>
#include <memory>
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

// Fewest multiplications that are worth another thread: starting one takes about as long.
constexpr int64_t work_per_thread = 4 << 20;

// run_tasks with scratch for every thread: work(task, worker, scratch). `multiplications` of all tasks together say how
// many threads pay.
template <class Work>
void run_with_scratch(int64_t tasks, int threads, int64_t multiplications, size_t floats, const Work& work) {
    if (tasks < threads) threads = static_cast<int>(tasks);
    if (multiplications / work_per_thread + 1 < threads)
        threads = static_cast<int>(multiplications / work_per_thread + 1);
    if (threads < 1) threads = 1;
    std::vector<std::unique_ptr<Scratch>> scratch;
    for (int i = 0; i < threads; ++i) scratch.push_back(std::make_unique<Scratch>(floats));
    run_tasks(tasks, threads, [&](int64_t task, int worker) { work(task, worker, scratch[worker]->floats()); });
}

}  // namespace videosieve
