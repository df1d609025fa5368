// Quantized matrices to a section (docs/format.md, Quantized).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/containers.hpp"
#include "format/quantized.hpp"
#include "quantize/symbols.hpp"

namespace vaecomp::core {

// `symbols` are those of each matrix, row by row. Levels from `tables - 1` on share the last table; `tables` is at
// least 1.
Vector<std::uint8_t> encode_quantized(std::optional<std::size_t> base, std::span<const QuantizedMatrix> matrices,
                                      std::span<const Symbols> symbols, std::size_t tables = max_tables);

}  // namespace vaecomp::core
