#include "entropy/frequency_table.hpp"

#include <string>

namespace vaecomp::core {
FrequencyTable read_table(ByteReader& reader, SymbolRange range) {
    FrequencyTable table;
    const std::int64_t first = reader.zigzag("table's first symbol");
    const std::uint64_t size = reader.varint("table's size", 1, table_total);
    if (first < range.least || first > range.most - static_cast<std::int64_t>(size) + 1) {
        reader.fail("table",
                    "symbols are outside " + std::to_string(range.least) + " to " + std::to_string(range.most));
    }
    table.first = static_cast<std::int32_t>(first);
    std::uint32_t sum = 0;
    for (std::uint64_t j = 0; j < size; ++j) {
        const bool at_an_end = j == 0 || j + 1 == size;
        const auto frequency =
            static_cast<std::uint16_t>(reader.varint("table's frequency", at_an_end ? 1 : 0, table_total - sum));
        table.frequencies.push_back(frequency);
        sum += frequency;
    }
    if (sum != table_total) reader.fail("table", "frequencies add up to " + std::to_string(sum) + ", not 4096");
    return table;
}

}  // namespace vaecomp::core
