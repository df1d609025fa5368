#include "quantize/feedback.hpp"

#include <algorithm>
#include <cmath>

#include "core/containers.hpp"
#include "core/parallel.hpp"

namespace vaecomp::core {
namespace {

// How many rows go through the columns together. Each row of `feedback` is read once for all of them.
constexpr std::size_t rows_a_tile = 8;

class Tile {
  public:
    Tile(const FeedbackProblem& problem, std::size_t first, std::size_t rows)
        : problem_(problem), first_(first), rows_(rows) {
        const auto values = problem.values.subspan(first * problem.columns, rows * problem.columns);
        rest_.assign(values.begin(), values.end());
    }

    void quantize(std::span<std::int32_t> symbols) {
        const std::size_t columns = problem_.columns;
        for (std::size_t j = 0; j < columns; ++j) {
            for (std::size_t r = 0; r < rows_; ++r) {
                const std::size_t i = first_ + r;
                const float scale = problem_.row_scales[i] * problem_.column_scales[j];
                const float value = rest_[r * columns + j];
                const std::int32_t symbol = choose(value / scale, scale, i, j);
                symbols[i * columns + j] = symbol;
                if (!problem_.feedback.empty()) pass_on(r, j, value - static_cast<float>(symbol) * scale);
            }
        }
    }

  private:
    [[nodiscard]] std::int32_t choose(float level, float scale, std::size_t i, std::size_t j) const {
        const RateModel& rates = problem_.rates;
        const auto last = static_cast<float>(rates.first + static_cast<std::int32_t>(rates.symbols) - 1);
        // In this order a level that is not a number becomes the first symbol.
        const float within = std::min(std::max(static_cast<float>(rates.first), level), last);
        const auto nearest = static_cast<std::int32_t>(std::nearbyint(within));
        if (nearest == 0) return 0;
        const std::size_t table =
            std::min<std::size_t>(rates.tables - 1, rates.row_levels[i] + std::size_t{rates.column_levels[j]});
        const float* bits = rates.bits.data() + table * rates.symbols;
        const float weight = problem_.row_weights[i] * problem_.curvature[j] * scale * scale;
        std::int32_t best = nearest;
        float min_cost = INFINITY;
        for (const std::int32_t symbol : {nearest, nearest > 0 ? nearest - 1 : nearest + 1, 0}) {
            const float error = level - static_cast<float>(symbol);
            const float cost = weight * error * error + problem_.rate_weight * bits[symbol - rates.first];
            if (cost < min_cost) {
                min_cost = cost;
                best = symbol;
            }
        }
        return best;
    }

    void pass_on(std::size_t r, std::size_t j, float error) {
        const std::size_t columns = problem_.columns;
        const float* share = problem_.feedback.data() + j * columns;
        float* rest = rest_.data() + r * columns;
        for (std::size_t k = j + 1; k < columns; ++k) rest[k] -= error * share[k];
    }

    const FeedbackProblem& problem_;
    std::size_t first_, rows_;
    Vector<float> rest_;  // what is left to quantize: values with the errors of earlier columns passed on
};

}  // namespace

void feedback_quantize(const FeedbackProblem& problem, std::span<std::int32_t> symbols, std::size_t threads) {
    parallel_ranges(problem.rows, rows_a_tile, threads,
                    [&](std::size_t begin, std::size_t end) { Tile(problem, begin, end - begin).quantize(symbols); });
}

}  // namespace vaecomp::core
