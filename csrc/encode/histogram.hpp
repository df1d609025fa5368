// Frequency tables made from how often symbols occur.
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "encode/byte_writer.hpp"
#include "entropy/frequency_table.hpp"

namespace vaecomp::core {

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

// The encoder's rule: counts are scaled to table_total, and every symbol that occurs gets at least 1. Without symbols
// it is the shortest table.
FrequencyTable make_table(const Histogram& histogram);

// What the histogram's symbols take with a table that has them all, in 1/256 of a bit.
std::uint64_t code_length(const FrequencyTable& table, const Histogram& histogram);

void write_table(ByteWriter& writer, const FrequencyTable& table);

}  // namespace vaecomp::core
