// A block of rANS symbols with bits behind them (docs/format.md, Differences and Lossless).
#pragma once

#include <cstdint>
#include <utility>

#include "encode/bit_writer.hpp"
#include "encode/byte_writer.hpp"

namespace vaecomp::core {

// `coded` is a rANS block.
inline Vector<std::uint8_t> bits_block(Bytes coded, BitWriter bits) {
    ByteWriter block;
    block.fixed(static_cast<std::uint32_t>(coded.size()));
    block.append(coded);
    block.append(bits.finish());
    return std::move(block.bytes());
}

}  // namespace vaecomp::core
