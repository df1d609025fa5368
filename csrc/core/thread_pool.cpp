#include "core/thread_pool.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <system_error>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

#include "core/float_environment.hpp"

namespace vaecomp::core {
namespace {

std::atomic<ThreadPool*> process_pool{nullptr};

// Whether this thread takes part in a job: it is in a step, or a worker.
thread_local bool sharing = false;

// How long a thread without work looks for some before it sleeps. That is about what waking a thread takes: calls that
// follow each other find the workers awake.
constexpr std::chrono::microseconds max_spinning{50};

template <typename Ready>
void spin_until(const Ready& ready) {
    const auto end = std::chrono::steady_clock::now() + max_spinning;
    while (!ready() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

#if defined(_WIN32)
// There is no fork, and at its end a process has no other threads.
struct SignalsBlocked {};
#else
// A fork copies no thread but the caller, and mutexes as they happen to be: the child leaves the pool behind. At the
// end of the process, or of the library, the workers end; the pool stays, for threads that still call it.
const struct ProcessEvents {
    ProcessEvents() {
        pthread_atfork(nullptr, nullptr, [] { process_pool.store(nullptr, std::memory_order_relaxed); });
    }
    ~ProcessEvents() {
        if (ThreadPool* pool = process_pool.load(std::memory_order_acquire)) pool->stop();
    }
} process_events;

// While this lives, new threads take no signals but those of their own faults. The process's own threads expect the
// others.
class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t blocked;
        sigfillset(&blocked);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&blocked, fault);
        pthread_sigmask(SIG_BLOCK, &blocked, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_{};
};
#endif

}  // namespace

ThreadPool& ThreadPool::of_process() {
    // There is no lock here, because a fork could leave it locked.
    ThreadPool* pool = process_pool.load(std::memory_order_acquire);
    if (pool != nullptr) return *pool;
    auto fresh = std::make_unique<ThreadPool>();
    return process_pool.compare_exchange_strong(pool, fresh.get()) ? *fresh.release() : *pool;
}

void ThreadPool::run(std::size_t helpers, const Step& step) {
    if (helpers == 0 || sharing) {
        while (step()) continue;
        return;
    }
    Job job{step};
    offer(job, helpers);
    sharing = true;
    while (step()) continue;
    sharing = false;
    finish(job);
}

void ThreadPool::stop() {
    std::vector<std::thread> workers;
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
        workers.swap(workers_);
    }
    offered_.notify_all();
    for (std::thread& worker : workers) worker.join();
}

std::size_t ThreadPool::workers() const {
    const std::scoped_lock lock(mutex_);
    return workers_.size();
}

void ThreadPool::offer(Job& job, std::size_t helpers) {
    std::size_t sleepers = 0;
    {
        const std::scoped_lock lock(mutex_);
        if (stopping_) return;
        if (workers_.size() < helpers) start(std::min(helpers, max_workers));
        job.places = std::min(helpers, workers_.size());
        if (job.places == 0) return;
        jobs_.push_back(&job);
        places_ += job.places;
        if (places_ > searching_) sleepers = std::min(job.places, places_ - searching_);
    }
    for (; sleepers > 0; --sleepers) offered_.notify_one();
}

void ThreadPool::finish(Job& job) {
    std::unique_lock lock(mutex_);
    if (job.places > 0) {
        places_ -= job.places;
        std::erase(jobs_, &job);
    }
    const auto empty = [&] { return job.inside == 0; };
    if (!empty()) {
        lock.unlock();
        spin_until(empty);
        lock.lock();  // the last worker may still be about to notify
    }
    job.left.wait(lock, empty);
}

// Goes on with fewer workers where the system has no more threads.
void ThreadPool::start(std::size_t workers) {
    const SignalsBlocked blocked;
    try {
        while (workers_.size() < workers) {
            workers_.emplace_back([this] { serve(); });
            ++searching_;
        }
    } catch (const std::system_error&) {
    }
}

void ThreadPool::serve() {
    const FloatEnvironment environment;
    sharing = true;
    std::unique_lock lock(mutex_);
    while (Job* job = enter(lock)) {
        lock.unlock();
        while (!stopping_ && job->step()) continue;
        lock.lock();
        ++searching_;
        if (--job->inside == 0) job->left.notify_one();
    }
}

// Waits for a place in a job and takes it; null when the pool stops.
ThreadPool::Job* ThreadPool::enter(std::unique_lock<std::mutex>& lock) {
    const auto found = [&] { return places_ > 0 || stopping_; };
    if (!found()) {
        lock.unlock();
        spin_until(found);
        lock.lock();
    }
    --searching_;
    while (!found()) offered_.wait(lock);
    if (stopping_) return nullptr;
    Job* job = jobs_.front();
    ++job->inside;
    --places_;
    if (--job->places == 0) jobs_.erase(jobs_.begin());
    return job;
}

}  // namespace vaecomp::core
