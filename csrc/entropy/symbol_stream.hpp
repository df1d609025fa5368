// A sequence of symbols as independent rANS blocks (docs/format.md, Symbol stream).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.hpp"
#include "entropy/rans.hpp"

namespace vaecomp {

inline constexpr std::size_t block_symbols = 65536;

// `segments` are the lengths of the parts that get a table each; they add up to symbols.size(). lanes 0: by size.
std::vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                         std::size_t lanes);

// A stream whose header has been read and checked; its bytes stay where they are.
class SymbolStream {
  public:
    struct Range {
        std::int32_t least, most;
    };
    // Reads the stream and moves the reader behind it. `most_count` bounds the count before anything is allocated.
    SymbolStream(ByteReader& reader, Range range, std::uint64_t most_count);

    [[nodiscard]] std::size_t count() const { return count_; }
    // Bytes of everything but the blocks: what entropy tables cost.
    [[nodiscard]] std::size_t table_bytes() const { return table_bytes_; }

    template <typename Symbol>
    void decode(std::span<Symbol> out, std::size_t threads) const;

  private:
    struct Segment {
        std::size_t begin;
        FrequencyTable table;
    };
    struct Block {
        Bytes bytes;
        std::uint32_t crc;
        std::uint64_t offset;  // in the file, for messages
    };
    [[nodiscard]] std::vector<DecodingRun> runs_of(std::size_t block, std::span<const DecodingTable> tables) const;

    std::size_t count_ = 0, lanes_ = 1, table_bytes_ = 0;
    std::vector<Segment> segments_;
    std::vector<Block> blocks_;
};

}  // namespace vaecomp
