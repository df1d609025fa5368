// Symbols to rANS blocks (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/function_ref.hpp"
#include "encode/byte_writer.hpp"
#include "entropy/blocks.hpp"

namespace vaecomp::core {

// A table laid out for encoding.
struct EncodingTable {
    explicit EncodingTable(const FrequencyTable& table);

    // What turns a state x into floor(x / frequency) * table_total + x mod frequency + start without a division: with
    // q = x * reciprocal / 2^64 it is x + addend + q * (table_total - frequency).
    struct Interval {
        std::uint64_t reciprocal;
        std::uint32_t addend;
        std::uint32_t frequency;
    };
    std::int32_t first;
    Vector<Interval> intervals;
};

// `length` symbols whose tables are tables[contexts[i]], or all the first one if there are no contexts. A block is a
// sequence of runs.
struct EncodingRun {
    const EncodingTable* tables;
    const std::uint8_t* contexts;
    std::size_t length;
};

Vector<std::uint8_t> encode_block(std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                                  std::size_t lanes);

// The encoder's choice for `count` symbols whose codes take `length` 1/256 bits together.
std::size_t lanes_for(std::size_t count, std::uint64_t length);

// Gives the bytes of the block of symbols [begin, end); called from several threads.
using BlockEncoder = FunctionRef<Vector<std::uint8_t>(std::size_t begin, std::size_t end)>;

// Writes the directory of the blocks of `count` symbols to `head`, and the blocks to `payload`.
void write_blocks(ByteWriter& head, ByteWriter& payload, std::size_t count, const BlockEncoder& encode);

// The same for symbols in one piece; the runs make the whole sequence.
void write_blocks(ByteWriter& head, ByteWriter& payload, std::span<const std::int32_t> symbols,
                  std::span<const EncodingRun> runs, std::size_t lanes);

}  // namespace vaecomp::core
