#include "quantize/feedback.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>

#include "core/containers.hpp"
#include "core/parallel.hpp"

namespace vaecomp::core {
namespace {

// How many rows go through the columns together. Each row of `feedback` is read once for all of them.
constexpr std::size_t rows_a_tile = 8;
constexpr std::size_t task_elements = std::size_t{1} << 16;

std::size_t rows_a_task(std::size_t columns) {
    const std::size_t rows = task_elements / std::max<std::size_t>(columns, 1);
    return std::max(rows_a_tile, rows / rows_a_tile * rows_a_tile);
}

// Rounds to the nearest integer, ties to even, what is below 2^22 in magnitude: behind the sum there is no room for
// fractions.
float rounded(float value) {
    constexpr float turning = 3 << 22;
    return (value + turning) - turning;
}

// The rows [begin, end).
class Rows {
  public:
    Rows(const FeedbackProblem& problem, std::span<std::int16_t> symbols)
        : problem_(problem),
          symbols_(symbols),
          min_level_(static_cast<float>(problem.rates.first)),
          max_level_(min_level_ + static_cast<float>(problem.rates.symbols - 1)),
          counts_(problem.rates.bits.size()) {}

    void quantize(std::size_t begin, std::size_t end) {
        if (problem_.feedback.empty()) {
            for (std::size_t i = begin; i < end; ++i) quantize_independent(i);
        } else {
            for (std::size_t i = begin; i < end; i += rows_a_tile) quantize_tile(i, std::min(rows_a_tile, end - i));
        }
    }

    [[nodiscard]] const Vector<std::uint32_t>& counts() const { return counts_; }

  private:
    [[nodiscard]] std::size_t place(std::size_t j) const { return problem_.order.empty() ? j : problem_.order[j]; }

    void quantize_independent(std::size_t i) {
        for (std::size_t j = 0; j < problem_.columns; ++j) {
            const std::size_t at = i * problem_.columns + place(j);
            const float scale = problem_.row_scales[i] * problem_.column_scales[j];
            symbols_[at] = static_cast<std::int16_t>(choose(problem_.values[at] / scale, scale, i, j));
        }
    }

    void quantize_tile(std::size_t first, std::size_t rows) {
        const std::size_t columns = problem_.columns;
        rest_.resize(rows * columns);
        for (std::size_t r = 0; r < rows; ++r) {
            const float* values = problem_.values.data() + (first + r) * columns;
            for (std::size_t j = 0; j < columns; ++j) rest_[r * columns + j] = values[place(j)];
        }
        for (std::size_t j = 0; j < columns; ++j) {
            for (std::size_t r = 0; r < rows; ++r) {
                const std::size_t i = first + r;
                const float scale = problem_.row_scales[i] * problem_.column_scales[j];
                const float value = rest_[r * columns + j];
                const std::int32_t symbol = choose(value / scale, scale, i, j);
                symbols_[i * columns + place(j)] = static_cast<std::int16_t>(symbol);
                pass_on(r, j, value - static_cast<float>(symbol) * scale);
            }
        }
    }

    std::int32_t choose(float level, float scale, std::size_t i, std::size_t j) {
        const RateModel& rates = problem_.rates;
        // In this order a level that is not a number becomes the first symbol.
        const float within = std::min(std::max(min_level_, level), max_level_);
        const auto nearest = static_cast<std::int32_t>(rounded(within));
        const std::size_t row = rates.row_tables[i] * rates.symbols;
        const float* bits = rates.bits.data() + row;
        std::int32_t best = nearest;
        if (nearest != 0) {
            const float weight = problem_.row_weights[i] * problem_.curvature[j] * scale * scale;
            float min_cost = INFINITY;
            for (const std::int32_t symbol : {nearest, nearest > 0 ? nearest - 1 : nearest + 1, 0}) {
                const float error = level - static_cast<float>(symbol);
                const float cost = weight * error * error + problem_.rate_weight * bits[symbol - rates.first];
                if (cost < min_cost) {
                    min_cost = cost;
                    best = symbol;
                }
            }
        }
        ++counts_[row + static_cast<std::size_t>(best - rates.first)];
        return best;
    }

    void pass_on(std::size_t r, std::size_t j, float error) {
        const std::size_t columns = problem_.columns;
        const float* share = problem_.feedback.data() + j * columns;
        float* rest = rest_.data() + r * columns;
        for (std::size_t k = j + 1; k < columns; ++k) rest[k] -= error * share[k];
    }

    const FeedbackProblem& problem_;
    std::span<std::int16_t> symbols_;
    float min_level_, max_level_;
    Vector<std::uint32_t> counts_;
    Vector<float> rest_;  // what is left to quantize: values with the errors of earlier columns passed on
};

}  // namespace

void feedback_quantize(const FeedbackProblem& problem, std::span<std::int16_t> symbols, std::span<std::uint64_t> counts,
                       std::size_t threads) {
    std::fill(counts.begin(), counts.end(), 0);
    std::mutex mutex;
    parallel_ranges(problem.rows, rows_a_task(problem.columns), threads, [&](std::size_t begin, std::size_t end) {
        Rows rows(problem, symbols);
        rows.quantize(begin, end);
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += rows.counts()[i];
    });
}

float largest_level(std::span<const float> values, std::span<const float> row_scales,
                    std::span<const float> column_scales, std::size_t threads) {
    // The bits of magnitudes are in the order of the numbers, and those of what is no number are beyond them.
    std::atomic<std::uint32_t> largest{0};
    const std::size_t columns = column_scales.size();
    parallel_ranges(row_scales.size(), rows_a_task(columns), threads, [&](std::size_t begin, std::size_t end) {
        std::uint32_t own = 0;
        for (std::size_t i = begin; i < end; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                const float level = values[i * columns + j] / (row_scales[i] * column_scales[j]);
                own = std::max(own, std::bit_cast<std::uint32_t>(level) & 0x7fffffff);
            }
        }
        std::uint32_t before = largest.load();
        while (before < own && !largest.compare_exchange_weak(before, own)) {
        }
    });
    return std::bit_cast<float>(largest.load());
}

}  // namespace vaecomp::core
