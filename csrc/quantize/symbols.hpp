// Symbols of a quantized matrix as they are in memory, row by row.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

namespace vaecomp::core {

using Symbols = std::variant<std::span<const std::int8_t>, std::span<const std::int16_t>>;

}  // namespace vaecomp::core
