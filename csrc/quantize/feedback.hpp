// Quantization of a matrix column by column with error feedback and rate-distortion decisions (docs/quantization.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaecomp::core {

// What a symbol costs: bits[t * symbols + q - first] for symbol q under table t. An element's table is the archive's:
// min(tables - 1, row_levels[i] + column_levels[j]).
struct RateModel {
    std::span<const float> bits;
    std::size_t tables, symbols;
    std::int32_t first;
    std::span<const std::uint8_t> row_levels, column_levels;
};

// A matrix [rows, columns] and the quadratic that says what its errors cost:
//     sum_i row_weights[i] * sum_j curvature[j] * (error of element (i, j) when its column is quantized)^2
// `feedback` [columns, columns] is unit upper triangular: what the error of column j adds to the columns behind it.
// Empty means that the columns are independent.
struct FeedbackProblem {
    std::span<const float> values;  // [rows, columns]
    std::size_t rows, columns;
    std::span<const float> feedback, curvature, row_weights;
    std::span<const float> row_scales, column_scales;  // the grid of element (i, j) is their product
    float rate_weight;
    RateModel rates;
};

// Symbols [rows, columns]. Each is the cheapest of three: the nearest symbol, the next one towards zero, and zero.
void feedback_quantize(const FeedbackProblem& problem, std::span<std::int32_t> symbols, std::size_t threads);

}  // namespace vaecomp::core
