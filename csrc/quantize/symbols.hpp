// Symbols of a quantized matrix as they are in memory, row by row.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

namespace vaecomp::core {

using Symbols = std::variant<std::span<const std::int8_t>, std::span<const std::int16_t>>;

// The least and the greatest symbol, 0 among them, and the mean magnitude.
struct SymbolExtent {
    std::int32_t first = 0, last = 0;
    double liveliest = 0;
};
SymbolExtent symbol_extent(const Symbols& symbols);

}  // namespace vaecomp::core
