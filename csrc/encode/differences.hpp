// Tensors to differences from what the pack predicts (docs/format.md, Differences).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/containers.hpp"
#include "format/differences.hpp"

namespace vaecomp::core {

// A contiguous tensor in host byte order, what is predicted of it, and the levels that choose its tables.
struct DifferenceSource {
    DifferenceMatrix matrix;
    const std::uint8_t *data, *predicted;
};

// Contexts from `tables - 1` on share the last table; `tables` is at least 1.
Vector<std::uint8_t> encode_differences(std::optional<std::size_t> base, unsigned detail,
                                        std::span<const DifferenceSource> tensors, std::size_t tables = max_tables);

}  // namespace vaecomp::core
