// Quantization of a matrix column by column with error feedback and rate-distortion decisions (docs/quantization.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaecomp::core {

// What a symbol costs: bits[t * symbols + q - first] for symbol q in a row of table t. Symbols fit 16 bits.
struct RateModel {
    std::span<const float> bits;
    std::size_t tables, symbols;
    std::int32_t first;
    std::span<const std::uint8_t> row_tables;
};

// A matrix [rows, columns] and the quadratic that says what its errors cost:
//     sum_i row_weights[i] * sum_j curvature[j] * (error of element (i, j) when its column is quantized)^2
// Columns are quantized in `order`; empty means as they stand. What belongs to columns is in this order.
struct FeedbackProblem {
    std::span<const float> values;  // [rows, columns], as they stand
    std::size_t rows, columns;
    std::span<const std::uint32_t> order;
    // [columns, columns], unit upper triangular: what the error of column j adds to the columns behind it. Empty means
    // that the columns are independent.
    std::span<const float> feedback;
    std::span<const float> curvature, row_weights;
    std::span<const float> row_scales, column_scales;  // the grid of element (i, j) is their product
    float rate_weight;
    RateModel rates;
};

// Symbols [rows, columns], as the values stand. Each is the cheapest of three: the nearest symbol, the next one towards
// zero, and zero. `counts` [tables, symbols] gets how often each table has each of them.
void feedback_quantize(const FeedbackProblem& problem, std::span<std::int16_t> symbols, std::span<std::uint64_t> counts,
                       std::size_t threads);

// The most steps of a value from zero; not a number if one is that. Scales are as the values stand.
float largest_level(std::span<const float> values, std::span<const float> row_scales,
                    std::span<const float> column_scales, std::size_t threads);

}  // namespace vaecomp::core
