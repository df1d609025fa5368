#include "quantize/histograms.hpp"

namespace vaecomp::core {

void symbol_histograms(const HistogramShape& shape, std::span<const std::int32_t> symbols,
                       std::span<const std::uint8_t> groups, std::span<std::uint32_t> counts) {
    for (std::size_t i = 0; i < shape.rows; ++i) {
        for (std::size_t j = 0; j < shape.columns; ++j) {
            const std::size_t index = shape.by_column ? j : i, group = groups[shape.by_column ? i : j];
            const auto symbol = static_cast<std::size_t>(symbols[i * shape.columns + j] - shape.first);
            ++counts[(index * shape.group_count + group) * shape.symbol_count + symbol];
        }
    }
}

}  // namespace vaecomp::core
