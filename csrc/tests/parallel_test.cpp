#include "core/parallel.hpp"

#include <atomic>
#include <cfenv>

#include "tests/support.hpp"

namespace vaecomp {
namespace {

TEST(ParallelFor, RunsEveryTaskOnce) {
    for (const std::size_t threads : {0u, 1u, 2u, 7u}) {
        std::vector<std::atomic<int>> runs(100);
        parallel_for(runs.size(), threads, [&](std::size_t i) { ++runs[i]; });
        for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
}

TEST(ParallelFor, RethrowsAnException) {
    for (const std::size_t threads : {1u, 4u}) {
        EXPECT_THROW(parallel_for(50, threads,
                                  [](std::size_t i) {
                                      if (i == 17) throw Error(ErrorCode::malformed, "seventeen");
                                  }),
                     Error);
    }
}

TEST(ParallelFor, SetsRoundingAndRestoresTheCallers) {
    std::fesetround(FE_UPWARD);
    for (const std::size_t threads : {1u, 2u}) {
        parallel_for(8, threads, [](std::size_t) { EXPECT_EQ(std::fegetround(), FE_TONEAREST); });
        EXPECT_EQ(std::fegetround(), FE_UPWARD);
    }
    std::fesetround(FE_TONEAREST);
}

TEST(ParallelRanges, CoverTheItems) {
    std::vector<int> items(1001);
    parallel_ranges(items.size(), 100, 2, [&](std::size_t begin, std::size_t end) {
        EXPECT_LE(end - begin, 100u);
        for (std::size_t i = begin; i < end; ++i) ++items[i];
    });
    EXPECT_EQ(items, std::vector<int>(1001, 1));
}

}  // namespace
}  // namespace vaecomp
