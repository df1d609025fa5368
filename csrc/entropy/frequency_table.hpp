// Integer frequency tables of the rANS coder (docs/kernels.md, 5).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.hpp"
#include "kernels/rans/rans.hpp"

namespace vaecomp {

using rans::table_total;

struct FrequencyTable {
    std::int32_t first = 0;
    std::vector<std::uint16_t> frequencies;

    [[nodiscard]] std::int64_t last() const { return first + static_cast<std::int64_t>(frequencies.size()) - 1; }
};

// The encoder's rule: histogram scaled to table_total, every symbol that occurs at least 1.
FrequencyTable make_table(std::span<const std::int32_t> symbols);

void write_table(ByteWriter& writer, const FrequencyTable& table);
FrequencyTable read_table(ByteReader& reader);

}  // namespace vaecomp
