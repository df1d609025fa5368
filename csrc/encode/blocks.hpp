// Symbols to rANS blocks (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/containers.hpp"
#include "core/function_ref.hpp"
#include "encode/byte_writer.hpp"
#include "encode/payload.hpp"
#include "entropy/blocks.hpp"
#include "kernels/rans_encode/rans_encode.hpp"

namespace vaecomp::core {

// Tables laid out for encoding, one behind another.
class EncodingTables {
  public:
    EncodingTables() = default;
    explicit EncodingTables(std::span<const FrequencyTable> tables) {
        for (const FrequencyTable& table : tables) add(table);
    }
    void add(const FrequencyTable& table);

    [[nodiscard]] const RansInterval* intervals() const { return intervals_.data(); }
    // The interval of a symbol is that behind as many others.
    [[nodiscard]] std::uint32_t entry(std::size_t table, std::int32_t symbol) const {
        return zeros_[table] + static_cast<std::uint32_t>(symbol);  // may wrap
    }

  private:
    Vector<RansInterval> intervals_;
    Vector<std::uint32_t> zeros_;  // by table: the entry of symbol 0
};

// `length` symbols whose tables are contexts[i], or all `table` if there are no contexts. A block is a sequence of
// runs.
struct EncodingRun {
    const std::uint8_t* contexts;
    std::size_t length;
    std::size_t table = 0;
};

// Makes a block of `count` symbols from the last to the first one.
class BlockWriter {
  public:
    BlockWriter(std::size_t count, std::size_t lanes);

    // Takes the symbols before those that it has: their entries in the tables.
    void put(const EncodingTables& tables, std::span<const std::uint32_t> entries);
    // Of the block, when all symbols are there.
    [[nodiscard]] std::size_t size() const;
    void write(std::uint8_t* out) const;
    [[nodiscard]] Vector<std::uint8_t> block() const;

  private:
    std::size_t left_, lanes_;
    std::unique_ptr<std::uint16_t[]> words_;  // their end is used
    const std::uint16_t* end_;
    RansEncoding state_;
};

BlockWriter encode_block(std::span<const std::int32_t> symbols, const EncodingTables& tables,
                         std::span<const EncodingRun> runs, std::size_t lanes);

// The encoder's choice for `count` symbols whose codes take `length` 1/256 bits together.
std::size_t lanes_for(std::size_t count, std::uint64_t length);

// Gives the bytes of the block of symbols [begin, end); called from several threads.
using BlockEncoder = FunctionRef<Vector<std::uint8_t>(std::size_t begin, std::size_t end)>;

// Writes the directory of the blocks of `count` symbols to `head`, and the blocks to `payload`.
void write_blocks(ByteWriter& head, Payload& payload, std::size_t count, std::size_t threads,
                  const BlockEncoder& encode);

// The same for symbols in one piece; the runs make the whole sequence.
void write_blocks(ByteWriter& head, Payload& payload, std::span<const std::int32_t> symbols,
                  const EncodingTables& tables, std::span<const EncodingRun> runs, std::size_t lanes,
                  std::size_t threads);

}  // namespace vaecomp::core
