// Interleaved rANS over one block of symbols (docs/kernels.md, 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "entropy/frequency_table.hpp"

namespace vaecomp::core {

using rans::max_lanes;

// Tables laid out for decoding: one entry a slot, one table behind another.
class DecodingTables {
  public:
    explicit DecodingTables(std::span<const FrequencyTable> tables);

    // The tables from `first` on.
    [[nodiscard]] RansTables view(std::size_t first = 0) const {
        const std::size_t slot = first * table_total;
        const RansAlphabet& alphabet = alphabets_[first];
        return {slots_.data() + slot, symbols_.empty() ? nullptr : symbols_.data() + slot, least_,
                alphabet.count > RansAlphabet::most ? nullptr : &alphabet};
    }

  private:
    Vector<std::uint32_t> slots_;
    Vector<std::int32_t> symbols_;  // empty if the slots hold them
    std::int32_t least_ = 0;
    Vector<RansAlphabet> alphabets_;
};

// Decodes a block piece by piece. All functions throw malformed without a field, which the caller knows.
class BlockReader {
  public:
    BlockReader(Bytes bytes, std::size_t lanes);

    // Decodes the next symbols. `contexts` says the table of each; null: the first one for all.
    void read(const RansTables& tables, const std::uint8_t* contexts, std::span<std::int32_t> out);
    // After the last symbol nothing may be left.
    void expect_end() const;

  private:
    std::size_t lanes_, symbols_ = 0;
    RansState state_{};
};

}  // namespace vaecomp::core
