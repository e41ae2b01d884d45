// Runs numbered tasks in the threads of the caller's OpenMP team, or in a few of its own.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "abi.h"

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

// How many threads a call may take, and whose: null is none but our own.
struct Crew {
    int threads;
    videosieve_parallel team;
};

template <class Call>
Crew crew_of(const Call& call) {
    return {call.threads, call.team};
}

// The tasks that are left. Whoever comes takes the next one, so that any number of threads finishes them.
template <class Work>
class TaskList {
  public:
    TaskList(int64_t tasks, int workers, const Work& work) : tasks_(tasks), workers_(workers), work_(work) {}

    // Takes tasks until none is left. Nothing may be thrown into a thread that is not ours.
    void take() noexcept {
        const int worker = next_worker_.fetch_add(1, std::memory_order_relaxed);
        if (worker >= workers_) return;
        try {
            for (int64_t task = next_.fetch_add(1, std::memory_order_relaxed); task < tasks_;
                 task = next_.fetch_add(1, std::memory_order_relaxed))
                work_(task, worker);
        } catch (const std::bad_alloc&) {
            out_of_memory_.store(true, std::memory_order_relaxed);
        }
    }
    static void take_from(void* list) { static_cast<TaskList*>(list)->take(); }

    // Throws what a worker met.
    void finish() const {
        if (out_of_memory_.load(std::memory_order_relaxed)) throw std::bad_alloc();
    }

  private:
    const int64_t tasks_;
    const int workers_;
    const Work& work_;
    std::atomic<int64_t> next_{0};
    std::atomic<int> next_worker_{0};
    std::atomic<bool> out_of_memory_{false};
};

// Threads that live as long as the call: nothing survives it, and a fork finds no pool without threads. Where the
// system refuses a thread, the others do its share.
template <class Work>
void run_in_own_threads(TaskList<Work>& list, int threads) {
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    try {
        for (int i = 1; i < threads; ++i) others.emplace_back(TaskList<Work>::take_from, &list);
    } catch (const std::system_error&) {
    }
    list.take();
    for (std::thread& other : others) other.join();
}

// Calls work(task, worker) for every task in [0, tasks) and worker in [0, crew.threads). The caller's thread works too.
// A team is always asked for in full: a smaller one would send its other threads away, and the caller's next
// parallel region would start them again.
template <class Work>
void run_tasks(int64_t tasks, const Crew& crew, const Work& work) {
    TaskList<Work> list(tasks, crew.threads, work);
    if (crew.threads == 1)
        list.take();
    else if (crew.team)
        crew.team(TaskList<Work>::take_from, &list, static_cast<unsigned>(crew.threads), 0);
    else
        run_in_own_threads(list, crew.threads);
    list.finish();
}

// Fewest multiplications that are worth another thread: waking one of a team, or starting one, takes about as long.
constexpr int64_t team_work_per_thread = 256 << 10, own_work_per_thread = 4 << 20;

// run_tasks with scratch for every thread: work(task, worker, scratch). `multiplications` of all tasks together say
// whether, and of our own how many, threads pay.
template <class Work>
void run_with_scratch(int64_t tasks, Crew crew, int64_t multiplications, size_t floats, const Work& work) {
    const int64_t pay = multiplications / (crew.team ? team_work_per_thread : own_work_per_thread) + 1;
    if (tasks == 1 || pay == 1) crew.threads = 1;
    if (!crew.team) crew.threads = static_cast<int>(std::min<int64_t>({crew.threads, tasks, pay}));
    std::vector<std::unique_ptr<Scratch>> scratch(crew.threads);
    run_tasks(tasks, crew, [&](int64_t task, int worker) {
        if (!scratch[worker]) scratch[worker] = std::make_unique<Scratch>(floats);
        work(task, worker, scratch[worker]->floats());
    });
}

}  // namespace videosieve
