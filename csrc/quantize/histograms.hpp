// Counts of a matrix's symbols, for fitting context levels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaecomp::core {

// counts[i][group][symbol - first] of every row i (or, with by_column, of every column) of symbols [rows, columns];
// `groups` are those of the other axis, each below group_count. All symbols lie in [first, first + symbol_count).
struct HistogramShape {
    std::size_t rows, columns;
    bool by_column;
    std::size_t group_count;
    std::int32_t first;
    std::size_t symbol_count;
};

void symbol_histograms(const HistogramShape& shape, std::span<const std::int32_t> symbols,
                       std::span<const std::uint8_t> groups, std::span<std::uint32_t> counts);

}  // namespace vaecomp::core
