#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/float_environment.hpp"
#include "core/thread_pool.hpp"

namespace vaecomp {

std::size_t available_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
    }
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(std::size_t tasks, std::size_t threads, const std::function<void(std::size_t)>& task) {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;
    const auto step = [&] {
        const std::size_t i = next.fetch_add(1, std::memory_order_relaxed);
        if (i >= tasks) return false;
        try {
            task(i);
        } catch (...) {
            if (!failed.exchange(true)) failure = std::current_exception();
            next.store(tasks, std::memory_order_relaxed);
        }
        return true;
    };
    {
        const FloatEnvironment environment;
        const std::size_t sharers = tasks <= 1 ? 1 : std::min(tasks, threads == 0 ? available_cores() : threads);
        ThreadPool::of_process().run(sharers - 1, std::cref(step));
    }
    if (failure) std::rethrow_exception(failure);
}

void parallel_ranges(std::size_t items, std::size_t grain, std::size_t threads,
                     const std::function<void(std::size_t, std::size_t)>& range) {
    parallel_for((items + grain - 1) / grain, threads,
                 [&](std::size_t i) { range(i * grain, std::min(items, (i + 1) * grain)); });
}

}  // namespace vaecomp
