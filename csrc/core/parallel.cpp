#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/context.hpp"
#include "core/error.hpp"
#include "core/float_environment.hpp"
#include "core/thread_pool.hpp"

namespace vaecomp::core {

std::size_t available_cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
    }
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

namespace {

// Takes tasks until none is left; the first exception ends the work.
class SharedTasks {
  public:
    SharedTasks(std::size_t tasks, FunctionRef<void(std::size_t)> task) : tasks_(tasks), task_(task) {
        context_.alone = context_.runner != nullptr;
    }

    void run(std::size_t i) {
        const ContextScope scope(context_);
        try {
            if (!failed_) task_(i);
            ended_.fetch_add(1, std::memory_order_relaxed);
        } catch (...) {
            if (!failed_.exchange(true)) failure_ = std::current_exception();
        }
    }

    bool run_next() {
        const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
        if (i >= tasks_ || failed_) return false;
        run(i);
        return true;
    }

    void run_with(const Runner& runner) {
        const auto task = [](void* own, std::size_t i) {
            const FloatEnvironment environment;
            static_cast<SharedTasks*>(own)->run(i);
        };
        runner.run(runner.context, tasks_, task, this);
    }

    void finish() const {
        if (failure_) std::rethrow_exception(failure_);
        if (ended_ != tasks_) throw Error(ErrorCode::internal, "the runner did not run every task once");
    }

  private:
    std::size_t tasks_;
    FunctionRef<void(std::size_t)> task_;
    Context context_ = Context::current();
    std::atomic<std::size_t> next_{0}, ended_{0};
    std::atomic<bool> failed_{false};
    std::exception_ptr failure_;
};

}  // namespace

void parallel_for(std::size_t tasks, std::size_t threads, FunctionRef<void(std::size_t)> task) {
    const Context& context = Context::current();
    SharedTasks shared(tasks, task);
    if (context.runner != nullptr && !context.alone && tasks > 1) {
        shared.run_with(*context.runner);
    } else {
        const FloatEnvironment environment;
        const bool alone = context.alone || tasks <= 1;
        const std::size_t sharers = alone ? 1 : std::min(tasks, threads == 0 ? available_cores() : threads);
        ThreadPool::of_process().run(sharers - 1, [&] { return shared.run_next(); });
    }
    shared.finish();
}

void parallel_ranges(std::size_t items, std::size_t grain, std::size_t threads,
                     FunctionRef<void(std::size_t, std::size_t)> range) {
    parallel_for((items + grain - 1) / grain, threads,
                 [&](std::size_t i) { range(i * grain, std::min(items, (i + 1) * grain)); });
}

}  // namespace vaecomp::core
