#include <cmath>
#include <limits>
#include <numeric>

#include "quantize/contexts.hpp"
#include "quantize/feedback.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

using Chosen = Vector<std::int16_t>;

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
          row_tables(height, 0) {
        for (std::int32_t symbol = -limit; symbol <= limit; ++symbol) {
            bits.push_back(static_cast<float>(std::abs(symbol)));
        }
    }

    [[nodiscard]] Chosen quantize(float rate_weight, std::size_t threads = 1) const {
        Chosen symbols(rows * columns);
        counts.assign(bits.size(), 99);
        feedback_quantize({values,
                           rows,
                           columns,
                           order,
                           feedback,
                           curvature,
                           row_weights,
                           row_scales,
                           column_scales,
                           rate_weight,
                           {bits, tables, bits.size() / tables, first, row_tables}},
                          symbols, counts, threads);
        return symbols;
    }

    Vector<float> values;
    std::size_t rows, columns;
    Vector<float> feedback, curvature, row_weights, row_scales, column_scales, bits;
    std::size_t tables = 1;
    std::int32_t first;
    Vector<std::uint8_t> row_tables;
    Vector<std::uint32_t> order;
    mutable Vector<std::uint64_t> counts;
};

TEST(Feedback, FreeBitsGiveTheNearestSymbolTiesToEven) {
    const Problem problem({-2.6f, -2.5f, -0.4f, 0.5f, 1.5f, 2.4f}, 2, 3);
    EXPECT_EQ(problem.quantize(0), (Chosen{-3, -2, 0, 0, 2, 2}));
}

TEST(Feedback, StepsAreProductsOfRowAndColumnScales) {
    Problem problem({6, 6, 6, 6}, 2, 2);
    problem.row_scales = {1, 2};
    problem.column_scales = {3, 1};
    EXPECT_EQ(problem.quantize(0), (Chosen{2, 6, 1, 3}));
}

TEST(Feedback, DearBitsMoveSymbolsTowardsZero) {
    // Errors of 0.4 and 0.6 differ by 0.2 in their squares: a price above that takes the smaller symbol.
    Problem problem({2.6f, -2.6f}, 1, 2);
    EXPECT_EQ(problem.quantize(0.19f), (Chosen{3, -3}));
    EXPECT_EQ(problem.quantize(0.21f), (Chosen{2, -2}));
    // From 2 to 0 the squares differ by 6.76 - 0.36, for two bits.
    EXPECT_EQ(problem.quantize(3.3f), (Chosen{0, 0}));
    problem.curvature = {1, 2};
    EXPECT_EQ(problem.quantize(3.3f), (Chosen{0, -2}));
    problem.row_weights = {20};
    EXPECT_EQ(problem.quantize(3.3f), (Chosen{3, -3}));
}

TEST(Feedback, ColumnsBehindTakeOverErrors) {
    Problem problem({0.4f, 0.2f, 0.1f}, 1, 3);
    problem.feedback = {1, -1, -0.5f, 0, 1, 1, 0, 0, 1};
    // 0.4 is lost and goes to the second column whole, to the third by half; the second, now 0.6, is 0.4 short of 1.
    EXPECT_EQ(problem.quantize(0), (Chosen{0, 1, 1}));
    problem.feedback.clear();
    EXPECT_EQ(problem.quantize(0), (Chosen{0, 0, 0}));
}

TEST(Feedback, ColumnsAreQuantizedInTheirOrder) {
    Problem problem({0.1f, 0.4f, 0.2f}, 1, 3);
    problem.order = {1, 2, 0};
    problem.feedback = {1, -1, -0.5f, 0, 1, 1, 0, 0, 1};
    problem.column_scales = {1, 1, 0.5f};  // of the column that stands first
    EXPECT_EQ(problem.quantize(0), (Chosen{1, 0, 1}));
    problem.feedback.clear();
    EXPECT_EQ(problem.quantize(0), (Chosen{0, 0, 0}));
}

TEST(Feedback, RowsHaveTables) {
    Problem problem({1, 1, 1, 1}, 2, 2, 1);
    problem.bits = {0, 0, 0, 9, 0, 9};  // the second table knows zeros only
    problem.tables = 2;
    problem.row_tables = {0, 1};
    EXPECT_EQ(problem.quantize(1), (Chosen{1, 1, 0, 0}));
    EXPECT_EQ(problem.counts, (Vector<std::uint64_t>{0, 0, 2, 0, 2, 0}));
}

TEST(Feedback, SymbolsStayWithinTheTable) {
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    Problem problem({1e30f, -1e30f, infinity, -infinity, nan, 7.4f}, 1, 6);
    problem.feedback.assign(36, 1);
    for (const float rate_weight : {0.0f, 1.0f}) {
        for (const std::int16_t symbol : problem.quantize(rate_weight)) EXPECT_LE(std::abs(symbol), 7);
    }
    problem.feedback.clear();
    EXPECT_EQ(problem.quantize(0), (Chosen{7, -7, 7, -7, -7, 7}));
}

TEST(Feedback, ThreadsMakeNoDifference) {
    constexpr std::size_t rows = 5000, columns = 30;  // more than a task takes
    Problem problem(testing::random_floats(rows * columns, 1), rows, columns);
    problem.feedback = testing::random_floats(columns * columns, 2);
    for (float& share : problem.feedback) share *= 0.1f;
    const Chosen expected = problem.quantize(0.3f);
    const Vector<std::uint64_t> counts = problem.counts;
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}), rows * columns);
    for (const std::size_t threads : {0u, 2u, 5u, 64u}) {
        EXPECT_EQ(problem.quantize(0.3f, threads), expected);
        EXPECT_EQ(problem.counts, counts);
    }
}

TEST(Feedback, NothingToQuantize) {
    EXPECT_EQ(Problem({}, 0, 3).quantize(1), Chosen{});
    EXPECT_EQ(Problem({}, 3, 0).quantize(1), Chosen{});
}

TEST(LargestLevel, CountsStepsOfEitherSign) {
    const Vector<float> values = {1, -6, 3, 2}, rows = {1, 2}, columns = {0.5f, 2};
    EXPECT_EQ(largest_level(values, rows, columns, 1), 3.0f);
    EXPECT_EQ(largest_level({}, {}, columns, 1), 0.0f);
}

TEST(LargestLevel, KeepsWhatIsNoNumber) {
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const Vector<float> one = {1}, two = {1, 1};
    EXPECT_EQ(largest_level(Vector<float>{-infinity, 1}, one, two, 1), infinity);
    EXPECT_TRUE(std::isnan(largest_level(Vector<float>{nan, infinity}, one, two, 1)));
}

// Quiet rows above lively ones, and a column that is livelier than the others.
Vector<std::int8_t> rows_of_two_kinds(std::size_t rows, std::size_t columns) {
    Vector<std::int8_t> symbols = testing::random_integers<std::int8_t>(rows * columns, -6, 6, 3);
    for (std::size_t i = 0; i < rows / 2 * columns; ++i) symbols[i] = static_cast<std::int8_t>(symbols[i] / 6);
    return symbols;
}

TEST(Contexts, LivelyRowsGetHigherLevels) {
    const Vector<std::int8_t> symbols = rows_of_two_kinds(40, 60);
    // The first table expects zeros, the second anything.
    Vector<double> frequencies(26, 1.0 / 13);
    for (std::size_t s = 0; s < 13; ++s) frequencies[s] = s == 6 ? 0.9 : 0.1 / 12;
    const ContextMatrix matrix{{40, 60}, std::span<const std::int8_t>(symbols)};
    const ContextFit fit = fit_contexts({&matrix, 1}, {2, -6, frequencies}, 3, 1);
    ASSERT_EQ(fit.levels.size(), 1u);
    const ContextLevels& levels = fit.levels[0];
    EXPECT_EQ(levels.level, 0);
    EXPECT_TRUE(levels.columns.empty());
    ASSERT_EQ(levels.rows.size(), 40u);
    for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(levels.rows[i], i < 20 ? 0 : 1) << i;
    EXPECT_EQ(std::accumulate(fit.counts.begin(), fit.counts.begin() + 13, std::uint64_t{0}), 20u * 60);
    EXPECT_EQ(std::accumulate(fit.counts.begin() + 13, fit.counts.end(), std::uint64_t{0}), 20u * 60);
}

TEST(Contexts, ThreadsMakeNoDifference) {
    const Vector<std::int8_t> symbols = rows_of_two_kinds(900, 700);
    const auto few = testing::random_integers<std::int16_t>(600, -6, 6, 5);
    const Vector<ContextMatrix> matrices = {{{900, 700}, std::span<const std::int8_t>(symbols)},
                                            {{20, 30}, std::span<const std::int16_t>(few)},
                                            {{0, 5}, std::span<const std::int16_t>{}}};
    Vector<double> frequencies(5 * 13, 1.0 / 13);
    for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] *= 1.0 + 0.1 * static_cast<double>(i % 7);
    const ContextTables start{5, -6, frequencies};
    const ContextFit expected = fit_contexts(matrices, start, 4, 1);
    for (const std::size_t threads : {0u, 2u, 5u}) {
        const ContextFit fit = fit_contexts(matrices, start, 4, threads);
        EXPECT_EQ(fit.counts, expected.counts);
        for (std::size_t m = 0; m < matrices.size(); ++m) {
            EXPECT_EQ(fit.levels[m].level, expected.levels[m].level);
            EXPECT_EQ(fit.levels[m].rows, expected.levels[m].rows);
            EXPECT_EQ(fit.levels[m].columns, expected.levels[m].columns);
        }
    }
}

}  // namespace
}  // namespace vaecomp::core
