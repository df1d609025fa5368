// Integer frequency tables of the rANS coder (docs/kernels.md, 5).
#pragma once

#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "kernels/rans/rans.hpp"

namespace vaecomp::core {

using rans::table_total;

struct FrequencyTable {
    std::int32_t first = 0;
    Vector<std::uint16_t> frequencies;

    [[nodiscard]] std::int64_t last() const { return first + static_cast<std::int64_t>(frequencies.size()) - 1; }
};

// The values that a table's symbols may have.
struct SymbolRange {
    std::int32_t least, most;
};

FrequencyTable read_table(ByteReader& reader, SymbolRange range);

}  // namespace vaecomp::core
