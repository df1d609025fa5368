#include "core/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <ctime>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#if !defined(_WIN32)
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "core/thread_pool.hpp"
#include "tests/support.hpp"

// GCC says by a macro that there is a sanitizer, Clang by a function of the preprocessor.
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER
#endif
#endif

namespace vaecomp::core {
namespace {

using std::chrono_literals::operator""ms;

constexpr auto patience = 20000ms;  // enough for what happens at once, also on a busy machine

template <typename Condition>
bool comes_true(const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::yield();
    }
    return true;
}

void expect_every_task_once(std::size_t tasks, std::size_t threads) {
    std::vector<std::atomic<int>> runs(tasks);
    parallel_for(tasks, threads, [&](std::size_t i) { ++runs[i]; });
    for (const auto& count : runs) EXPECT_EQ(count, 1);
}

// Tasks that end when all of them run at the same time.
void meet(std::size_t threads) {
    std::atomic<std::size_t> arrived{0};
    parallel_for(threads, threads, [&](std::size_t) {
        ++arrived;
        EXPECT_TRUE(comes_true([&] { return arrived == threads; }));
    });
}

TEST(ParallelFor, RunsEveryTaskOnce) {
    for (const std::size_t threads : {0u, 1u, 2u, 7u, 1000u}) {
        for (const std::size_t tasks : {0u, 1u, 2u, 100u}) expect_every_task_once(tasks, threads);
    }
}

TEST(ParallelFor, CountsTheCallerAmongItsThreads) {
    std::atomic<std::size_t> inside{0}, max{0};
    parallel_for(200, 3, [&](std::size_t) {
        const std::size_t now = ++inside;
        std::size_t before = max;
        while (before < now && !max.compare_exchange_weak(before, now)) continue;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        --inside;
    });
    EXPECT_LE(max, 3u);
    meet(3);
}

TEST(ParallelFor, StartsThreadsWhenTheyAreAskedForAndKeepsThem) {
    const auto started = [] { return ThreadPool::of_process().workers(); };
    const std::size_t before = started();
    for (int i = 0; i < 50; ++i) parallel_for(1, 200, [](std::size_t) {});
    EXPECT_EQ(started(), before);
    meet(before + 2);
    EXPECT_EQ(started(), before + 1);
    for (std::size_t i = 0; i < 200; ++i) parallel_for(100, 1 + i % (before + 2), [](std::size_t) {});
    EXPECT_EQ(started(), before + 1);
}

TEST(ParallelFor, TheSameThreadsServeManyCalls) {
    std::mutex mutex;
    std::set<std::thread::id> seen;
    for (int i = 0; i < 300; ++i) {
        parallel_for(4, 4, [&](std::size_t) {
            const std::scoped_lock lock(mutex);
            seen.insert(std::this_thread::get_id());
        });
        if (i % 100 == 0) std::this_thread::sleep_for(5ms);  // they fall asleep
    }
    EXPECT_LE(seen.size(), ThreadPool::of_process().workers() + 1);
}

TEST(ParallelFor, RethrowsTheFirstExceptionAndCancelsTheRest) {
    for (const std::size_t threads : {1u, 4u}) {
        std::atomic<int> runs{0};
        const auto call = [&] {
            parallel_for(100000, threads, [&](std::size_t i) {
                ++runs;
                if (i == 17) throw Error(ErrorCode::malformed, "seventeen");
                std::this_thread::sleep_for(std::chrono::microseconds(20));
            });
        };
        testing::expect_error(ErrorCode::malformed, "seventeen", call);
        EXPECT_LT(runs, 50000);
        expect_every_task_once(100, threads);
    }
}

TEST(ParallelFor, SurvivesThatEveryTaskThrows) {
    for (int i = 0; i < 100; ++i) {
        EXPECT_THROW(parallel_for(20, 4, [](std::size_t task) { throw std::out_of_range(std::to_string(task)); }),
                     std::out_of_range);
    }
    meet(4);
}

TEST(ParallelFor, SetsRoundingAndRestoresTheCallers) {
    std::fesetround(FE_UPWARD);
    for (const std::size_t threads : {1u, 2u}) {
        parallel_for(8, threads, [](std::size_t) { EXPECT_EQ(std::fegetround(), FE_TONEAREST); });
        EXPECT_EQ(std::fegetround(), FE_UPWARD);
        EXPECT_THROW(parallel_for(8, threads, [](std::size_t) { throw std::bad_alloc(); }), std::bad_alloc);
        EXPECT_EQ(std::fegetround(), FE_UPWARD);
    }
    std::fesetround(FE_TONEAREST);
}

TEST(ParallelFor, RunsInlineWithinATask) {
    std::atomic<int> runs{0};
    parallel_for(8, 4, [&](std::size_t) {
        const std::thread::id outer = std::this_thread::get_id();
        parallel_for(8, 4, [&](std::size_t) {
            EXPECT_EQ(std::this_thread::get_id(), outer);
            parallel_for(2, 4, [&](std::size_t) { ++runs; });
        });
    });
    EXPECT_EQ(runs, 8 * 8 * 2);
}

TEST(ParallelFor, PassesOnWhatANestedCallThrows) {
    EXPECT_THROW(parallel_for(8, 4,
                              [](std::size_t) {
                                  parallel_for(8, 4, [](std::size_t i) {
                                      if (i == 5) throw std::bad_alloc();
                                  });
                              }),
                 std::bad_alloc);
    meet(3);
}

TEST(ParallelFor, ServesManyCallersAtOnce) {
    const std::size_t before = ThreadPool::of_process().workers();
    std::vector<std::thread> callers;
    std::atomic<int> wrong{0};
    for (std::size_t c = 0; c < 32; ++c) {
        callers.emplace_back([&, c] {
            for (std::size_t round = 0; round < 100; ++round) {
                const std::size_t tasks = 1 + (c * 7 + round) % 40;
                std::vector<std::size_t> results(tasks);
                const auto call = [&] {
                    parallel_for(tasks, 1 + round % 4, [&](std::size_t i) {
                        if (c % 8 == 0 && i == 20) throw Error(ErrorCode::malformed, "twenty");
                        results[i] = c * 1000 + i;
                    });
                };
                if (c % 8 == 0 && tasks > 20) {
                    testing::expect_error(ErrorCode::malformed, "twenty", call);
                    continue;
                }
                call();
                for (std::size_t i = 0; i < tasks; ++i) wrong += results[i] != c * 1000 + i;
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_LE(ThreadPool::of_process().workers(), std::max<std::size_t>(before, 3));
}

TEST(ParallelFor, ACallerNeedsNoWorker) {
    // All workers are with another caller, until this one has done its work.
    std::atomic<std::size_t> busy{0};
    std::atomic<bool> done{false};
    const std::size_t all = ThreadPool::of_process().workers() + 2;
    std::thread other([&] {
        parallel_for(all, all, [&](std::size_t) {
            ++busy;
            EXPECT_TRUE(comes_true([&] { return done.load(); }));
        });
    });
    EXPECT_TRUE(comes_true([&] { return busy == all; }));
    expect_every_task_once(100, 2);
    done = true;
    other.join();
}

TEST(ThreadPool, IsIdleWithoutWork) {
#if defined(_WIN32)
    GTEST_SKIP() << "times are of POSIX";
#else
    meet(4);
    std::this_thread::sleep_for(20ms);
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(300ms);
    EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 20);
#endif
}

TEST(ThreadPool, HasALimit) {
    ThreadPool pool;
    pool.run(5000, [] { return false; });
    EXPECT_EQ(pool.workers(), ThreadPool::max_workers);
}

TEST(ThreadPool, EndsItsThreadsAndThenCallersWorkAlone) {
    ThreadPool pool;
    std::atomic<int> left{100};
    const auto step = [&] { return left.fetch_sub(1) > 0; };
    pool.run(3, step);
    EXPECT_EQ(pool.workers(), 3u);
    pool.stop();
    EXPECT_EQ(pool.workers(), 0u);
    left = 100;
    pool.run(3, step);
    EXPECT_LT(left, 0);
    EXPECT_EQ(pool.workers(), 0u);
}

TEST(ThreadPool, StopsWhileACallerGoesOn) {
    ThreadPool pool;
    std::atomic<int> left{2000};
    const auto step = [&] {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        return left.fetch_sub(1) > 0;
    };
    std::thread caller([&] { pool.run(3, step); });
    EXPECT_TRUE(comes_true([&] { return left < 1990; }));
    pool.stop();
    caller.join();
    EXPECT_LT(left, 0);
}

#if !defined(_WIN32)
// Runs `body` in a child made by fork; true when it returns true in time.
bool holds_in_a_child(const std::function<bool()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body() ? 0 : 1);
    }
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class Fork : public ::testing::Test {
  protected:
    void SetUp() override {
#if defined(__SANITIZE_THREAD__)
        GTEST_SKIP() << "ThreadSanitizer allows a child no threads";
#endif
    }
};

std::size_t tasks_run(std::size_t tasks, std::size_t threads) {
    std::atomic<std::size_t> runs{0};
    parallel_for(tasks, threads, [&](std::size_t) { ++runs; });
    return runs;
}

TEST_F(Fork, AChildHasThreadsOfItsOwn) {
    meet(4);
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(holds_in_a_child([] {
            if (ThreadPool::of_process().workers() != 0) return false;
            meet(3);
            return tasks_run(100, 3) == 100 && ThreadPool::of_process().workers() == 2 &&
                   holds_in_a_child([] { return tasks_run(100, 2) == 100; });
        }));
        expect_every_task_once(100, 4);
    }
}

TEST_F(Fork, AChildIsFreeOfWhatOthersWereDoing) {
#if defined(WITH_ADDRESS_SANITIZER)
    GTEST_SKIP() << "the locks of AddressSanitizer's allocator stay as others held them, and its child waits for them";
#endif
    std::atomic<bool> done{false};
    std::vector<std::thread> callers;
    for (int c = 0; c < 3; ++c) {
        callers.emplace_back([&] {
            while (!done) parallel_for(4, 3, [](std::size_t) {});
        });
    }
    for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(holds_in_a_child([] { return tasks_run(50, 3) == 50; }));
    }
    done = true;
    for (std::thread& caller : callers) caller.join();
}

TEST_F(Fork, AProcessEndsWhileItsWorkersAreIdleOrBusy) {
    for (const bool busy : {false, true}) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);
            if (busy) {
                std::thread([] {
                    for (;;) parallel_for(8, 3, [](std::size_t) { std::this_thread::sleep_for(1ms); });
                }).detach();
            }
            meet(3);
            std::exit(0);
        }
        int status = -1;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
}

TEST(ThreadPool, GoesOnWithFewerThreadsThanItAskedFor) {
#if defined(WITH_ADDRESS_SANITIZER) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers need the memory themselves";
#endif
    EXPECT_TRUE(holds_in_a_child([] {
        constexpr rlim_t little = rlim_t{256} << 20;  // stacks of some 30 threads
        rlimit limit{};
        getrlimit(RLIMIT_DATA, &limit);
        limit.rlim_cur = little;
        setrlimit(RLIMIT_DATA, &limit);
        return tasks_run(500, 250) == 500 && ThreadPool::of_process().workers() < 249 && tasks_run(500, 250) == 500;
    }));
}

TEST(ThreadPool, LeavesSignalsToTheProcess) {
    std::atomic<int> unblocked{0};
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<std::size_t> arrived{0};
    parallel_for(3, 3, [&](std::size_t) {
        ++arrived;
        EXPECT_TRUE(comes_true([&] { return arrived == 3; }));
        if (std::this_thread::get_id() == caller) return;
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGCHLD}) unblocked += sigismember(&mask, signal) == 0;
        for (const int fault : {SIGSEGV, SIGFPE}) EXPECT_EQ(sigismember(&mask, fault), 0);
    });
    EXPECT_EQ(unblocked, 0);
}
#endif

TEST(ParallelRanges, CoverTheItems) {
    std::vector<int> items(1001);
    parallel_ranges(items.size(), 100, 2, [&](std::size_t begin, std::size_t end) {
        EXPECT_LE(end - begin, 100u);
        for (std::size_t i = begin; i < end; ++i) ++items[i];
    });
    EXPECT_EQ(items, std::vector<int>(1001, 1));
}

}  // namespace
}  // namespace vaecomp::core
