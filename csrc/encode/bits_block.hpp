// A block of rANS symbols with bits behind them (docs/format.md, Differences and Lossless).
#pragma once

#include <cstdint>

#include "core/endian.hpp"
#include "encode/blocks.hpp"

namespace vaecomp::core {

// The block but for its bits, which follow.
inline Vector<std::uint8_t> before_bits(const BlockWriter& symbols) {
    Vector<std::uint8_t> block(4 + symbols.size());
    store_le(block.data(), static_cast<std::uint32_t>(symbols.size()));
    symbols.write(block.data() + 4);
    return block;
}

}  // namespace vaecomp::core
