#include <cmath>
#include <limits>
#include <numeric>

#include "quantize/feedback.hpp"
#include "quantize/histograms.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

using Symbols = Vector<std::int32_t>;

// A matrix with steps of 1 and weights of 1, whose symbols -limit .. limit cost a bit for each step away from zero.
struct Problem {
    Problem(Vector<float> elements, std::size_t height, std::size_t width, std::int32_t limit = 7)
        : values(std::move(elements)),
          rows(height),
          columns(width),
          curvature(width, 1),
          row_weights(height, 1),
          row_scales(height, 1),
          column_scales(width, 1),
          first(-limit),
          row_levels(height, 0),
          column_levels(width, 0) {
        for (std::int32_t symbol = -limit; symbol <= limit; ++symbol) {
            bits.push_back(static_cast<float>(std::abs(symbol)));
        }
    }

    [[nodiscard]] Symbols quantize(float rate_weight, std::size_t threads = 1) const {
        Symbols symbols(rows * columns);
        feedback_quantize({values,
                           rows,
                           columns,
                           feedback,
                           curvature,
                           row_weights,
                           row_scales,
                           column_scales,
                           rate_weight,
                           {bits, tables, bits.size() / tables, first, row_levels, column_levels}},
                          symbols, threads);
        return symbols;
    }

    Vector<float> values;
    std::size_t rows, columns;
    Vector<float> feedback, curvature, row_weights, row_scales, column_scales, bits;
    std::size_t tables = 1;
    std::int32_t first;
    Vector<std::uint8_t> row_levels, column_levels;
};

TEST(Feedback, FreeBitsGiveTheNearestSymbolTiesToEven) {
    const Problem problem({-2.6f, -2.5f, -0.4f, 0.5f, 1.5f, 2.4f}, 2, 3);
    EXPECT_EQ(problem.quantize(0), (Symbols{-3, -2, 0, 0, 2, 2}));
}

TEST(Feedback, StepsAreProductsOfRowAndColumnScales) {
    Problem problem({6, 6, 6, 6}, 2, 2);
    problem.row_scales = {1, 2};
    problem.column_scales = {3, 1};
    EXPECT_EQ(problem.quantize(0), (Symbols{2, 6, 1, 3}));
}

TEST(Feedback, DearBitsMoveSymbolsTowardsZero) {
    // Errors of 0.4 and 0.6 differ by 0.2 in their squares: a price above that takes the smaller symbol.
    Problem problem({2.6f, -2.6f}, 1, 2);
    EXPECT_EQ(problem.quantize(0.19f), (Symbols{3, -3}));
    EXPECT_EQ(problem.quantize(0.21f), (Symbols{2, -2}));
    // From 2 to 0 the squares differ by 6.76 - 0.36, for two bits.
    EXPECT_EQ(problem.quantize(3.3f), (Symbols{0, 0}));
    problem.curvature = {1, 2};
    EXPECT_EQ(problem.quantize(3.3f), (Symbols{0, -2}));
    problem.row_weights = {20};
    EXPECT_EQ(problem.quantize(3.3f), (Symbols{3, -3}));
}

TEST(Feedback, ColumnsBehindTakeOverErrors) {
    Problem problem({0.4f, 0.2f, 0.1f}, 1, 3);
    problem.feedback = {1, -1, -0.5f, 0, 1, 1, 0, 0, 1};
    // 0.4 is lost and goes to the second column whole, to the third by half; the second, now 0.6, is 0.4 short of 1.
    EXPECT_EQ(problem.quantize(0), (Symbols{0, 1, 1}));
    problem.feedback.clear();
    EXPECT_EQ(problem.quantize(0), (Symbols{0, 0, 0}));
}

TEST(Feedback, LevelsSayWhichTableCounts) {
    Problem problem({1, 1, 1, 1}, 2, 2, 1);
    problem.bits = {0, 0, 0, 9, 0, 9};  // the second table knows zeros only
    problem.tables = 2;
    problem.row_levels = {0, 200};
    problem.column_levels = {0, 100};
    EXPECT_EQ(problem.quantize(1), (Symbols{1, 0, 0, 0}));
}

TEST(Feedback, SymbolsStayWithinTheTable) {
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    Problem problem({1e30f, -1e30f, infinity, -infinity, nan, 7.4f}, 1, 6);
    problem.feedback.assign(36, 1);
    for (const float rate_weight : {0.0f, 1.0f}) {
        for (const std::int32_t symbol : problem.quantize(rate_weight)) EXPECT_LE(std::abs(symbol), 7);
    }
    problem.feedback.clear();
    EXPECT_EQ(problem.quantize(0), (Symbols{7, -7, 7, -7, -7, 7}));
}

TEST(Feedback, ThreadsMakeNoDifference) {
    constexpr std::size_t rows = 43, columns = 30;
    Problem problem(testing::random_floats(rows * columns, 1), rows, columns);
    problem.feedback = testing::random_floats(columns * columns, 2);
    for (float& share : problem.feedback) share *= 0.1f;
    const Symbols expected = problem.quantize(0.3f);
    for (const std::size_t threads : {0u, 2u, 5u, 64u}) EXPECT_EQ(problem.quantize(0.3f, threads), expected);
}

TEST(Feedback, NothingToQuantize) {
    EXPECT_EQ(Problem({}, 0, 3).quantize(1), Symbols{});
    EXPECT_EQ(Problem({}, 3, 0).quantize(1), Symbols{});
}

TEST(Histograms, CountByRowOrColumnForEachGroupOfTheOther) {
    const Symbols symbols = {-1, 0, 1,  //
                             0,  0, -1};
    const Vector<std::uint8_t> of_columns = {0, 1, 0}, of_rows = {1, 1};
    Vector<std::uint32_t> counts(2 * 2 * 3, 0);
    symbol_histograms({2, 3, false, 2, -1, 3}, symbols, of_columns, counts);
    EXPECT_EQ(counts, (Vector<std::uint32_t>{1, 0, 1, 0, 1, 0,  //
                                             1, 1, 0, 0, 1, 0}));
    counts.assign(3 * 2 * 3, 0);
    symbol_histograms({2, 3, true, 2, -1, 3}, symbols, of_rows, counts);
    EXPECT_EQ(counts, (Vector<std::uint32_t>{0, 0, 0, 1, 1, 0,  //
                                             0, 0, 0, 0, 2, 0,  //
                                             0, 0, 0, 1, 0, 1}));
}

TEST(Histograms, AddToWhatIsThere) {
    const auto symbols = testing::random_integers<std::int32_t>(200, -5, 5, 3);
    const auto groups = testing::random_integers<std::uint8_t>(20, 0, 2, 4);
    Vector<std::uint32_t> counts(10 * 3 * 11, 0);
    for (int turn = 0; turn < 2; ++turn) symbol_histograms({10, 20, false, 3, -5, 11}, symbols, groups, counts);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0u), 400u);
}

}  // namespace
}  // namespace vaecomp::core
