// Interleaved rANS over one block of symbols (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.hpp"
#include "entropy/frequency_table.hpp"

namespace vaecomp {

using rans::most_lanes;

// Tables laid out for decoding: one entry a slot, one table behind another.
class DecodingTables {
  public:
    explicit DecodingTables(std::span<const FrequencyTable> tables);

    // From table `first` on.
    [[nodiscard]] RansTables view(std::size_t first = 0) const {
        return {steps_.data() + first * table_total, symbols_.data() + first * table_total};
    }

  private:
    std::vector<std::uint32_t> steps_;
    std::vector<std::int32_t> symbols_;
};

// A table laid out for encoding.
struct EncodingTable {
    explicit EncodingTable(const FrequencyTable& table);

    struct Interval {
        std::uint32_t start, frequency;
    };
    std::int32_t first;
    std::vector<Interval> intervals;
};

// `length` symbols whose tables are tables[contexts[i]], or all the first one if there are no contexts. A block is a
// sequence of runs.
struct EncodingRun {
    const EncodingTable* tables;
    const std::uint8_t* contexts;
    std::size_t length;
};
struct DecodingRun {
    RansTables tables;
    const std::uint8_t* contexts;
    std::size_t length;
};

std::vector<std::uint8_t> encode_block(std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                                       std::size_t lanes);

// Throws malformed (without a field: the caller knows it) if the bytes are not exactly those of `out.size()` symbols.
void decode_block(Bytes bytes, std::span<const DecodingRun> runs, std::size_t lanes, std::span<std::int32_t> out);

}  // namespace vaecomp
