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

// A table laid out for decoding: one entry a slot.
class DecodingTable {
  public:
    explicit DecodingTable(const FrequencyTable& table);

    [[nodiscard]] RansTable view() const { return {steps_.data(), symbols_.data()}; }

  private:
    std::vector<std::uint32_t> steps_;
    std::vector<std::int32_t> symbols_;
};

// `length` symbols that share a table. A block is a sequence of runs.
struct EncodingRun {
    const FrequencyTable* table;
    std::size_t length;
};
struct DecodingRun {
    const DecodingTable* table;
    std::size_t length;
};

std::vector<std::uint8_t> encode_block(std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                                       std::size_t lanes);

// Throws malformed (without a field: the caller knows it) if the bytes are not exactly those of `out.size()` symbols.
void decode_block(Bytes bytes, std::span<const DecodingRun> runs, std::size_t lanes, std::span<std::int32_t> out);

}  // namespace vaecomp
