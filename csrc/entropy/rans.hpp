// Interleaved rANS over one block of symbols (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.hpp"
#include "entropy/frequency_table.hpp"

namespace vaecomp {

inline constexpr std::size_t most_lanes = 32;

// A table laid out for decoding: one entry a slot.
class DecodingTable {
  public:
    explicit DecodingTable(const FrequencyTable& table);

    struct Slot {
        std::uint16_t frequency;
        std::uint16_t offset;  // slot - start
        std::int32_t symbol;
    };
    [[nodiscard]] const Slot& operator[](std::uint32_t slot) const { return slots_[slot]; }

  private:
    std::vector<Slot> slots_;
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
template <typename Symbol>
void decode_block(Bytes bytes, std::span<const DecodingRun> runs, std::size_t lanes, std::span<Symbol> out);

}  // namespace vaecomp
