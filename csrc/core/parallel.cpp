#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/float_environment.hpp"

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
    const std::size_t workers = std::min(tasks, threads == 0 ? available_cores() : threads);
    if (workers <= 1) {
        const FloatEnvironment environment;
        for (std::size_t i = 0; i < tasks; ++i) task(i);
        return;
    }
    std::atomic<std::size_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto work = [&] {
        const FloatEnvironment environment;
        for (std::size_t i; (i = next.fetch_add(1)) < tasks;) {
            try {
                task(i);
            } catch (...) {
                const std::scoped_lock lock(failure_mutex);
                if (!failure) failure = std::current_exception();
                next.store(tasks);
            }
        }
    };
    {
        std::vector<std::jthread> pool;
        pool.reserve(workers - 1);
        for (std::size_t i = 1; i < workers; ++i) pool.emplace_back(work);
        work();
    }
    if (failure) std::rethrow_exception(failure);
}

void parallel_ranges(std::size_t items, std::size_t grain, std::size_t threads,
                     const std::function<void(std::size_t, std::size_t)>& range) {
    parallel_for((items + grain - 1) / grain, threads,
                 [&](std::size_t i) { range(i * grain, std::min(items, (i + 1) * grain)); });
}

}  // namespace vaecomp
