// Threads that wait for work, so that sharing work does not mean starting threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "core/function_ref.hpp"

namespace vaecomp::core {

class ThreadPool {
  public:
    // Does one piece of the work, or returns false when none is left. Must not throw.
    using Step = FunctionRef<bool()>;

    static constexpr std::size_t max_workers = 255;

    // The pool of this process; a child made by fork has one of its own.
    static ThreadPool& of_process();

    ThreadPool() = default;
    ~ThreadPool() { stop(); }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    // Calls `step` until nothing is left, in the caller and in those of up to `helpers` workers that are idle; returns
    // when all of them have. The caller never waits for a worker to come, and within a step it is alone.
    void run(std::size_t helpers, const Step& step);

    // Ends the workers after the step that they are in. From then on the callers work alone.
    void stop();

    [[nodiscard]] std::size_t workers() const;

  private:
    // Lives in its caller's frame. Guarded by mutex_; `inside` is also read without it, as a hint.
    struct Job {
        const Step& step;
        std::size_t places = 0;              // for workers that may still enter
        std::atomic<std::size_t> inside{0};  // workers
        std::condition_variable left{};
    };

    void offer(Job& job, std::size_t helpers);
    void finish(Job& job);
    void start(std::size_t workers);
    void serve();
    Job* enter(std::unique_lock<std::mutex>& lock);

    mutable std::mutex mutex_;
    std::condition_variable offered_;
    std::vector<std::thread> workers_;
    std::vector<Job*> jobs_;              // those that have places, oldest first
    std::atomic<std::size_t> places_{0};  // in all of them
    std::size_t searching_ = 0;           // workers awake without a job
    std::atomic<bool> stopping_{false};
};

}  // namespace vaecomp::core
