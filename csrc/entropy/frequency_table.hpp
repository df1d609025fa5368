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

// How often symbols occur, from `first` to the greatest.
class Histogram {
  public:
    Histogram() = default;
    explicit Histogram(std::span<const std::int32_t> symbols);

    // Throws invalid_argument if no table could hold all that have been added.
    void add(std::int32_t symbol, std::uint64_t times = 1);
    void add(const Histogram& other);

    [[nodiscard]] std::int32_t first() const { return first_; }
    [[nodiscard]] const Vector<std::uint64_t>& counts() const { return counts_; }

  private:
    std::int32_t first_ = 0;
    Vector<std::uint64_t> counts_;
};

// The encoder's rule: counts scaled to table_total, every symbol that occurs at least 1. Without symbols: the shortest.
FrequencyTable make_table(const Histogram& histogram);

// What the histogram's symbols take with a table that has them all, in 1/256 of a bit.
std::uint64_t code_length(const FrequencyTable& table, const Histogram& histogram);

void write_table(ByteWriter& writer, const FrequencyTable& table);
FrequencyTable read_table(ByteReader& reader, SymbolRange range);

}  // namespace vaecomp::core
