// Symbols to a stream (docs/format.md, Symbol stream).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "encode/byte_writer.hpp"
#include "encode/payload.hpp"

namespace vaecomp::core {

// Writes a stream's head and its blocks. `segments` are the lengths of the parts that get a table each; they add up to
// symbols.size(). With 0 lanes their number follows from the size.
void write_symbols(ByteWriter& head, Payload& payload, std::span<const std::int32_t> symbols,
                   std::span<const std::size_t> segments, std::size_t lanes, std::size_t threads);
// The same in one piece.
Vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                    std::size_t lanes);

}  // namespace vaecomp::core
