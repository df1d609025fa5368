#include "entropy/frequency_table.hpp"

#include <algorithm>
#include <limits>
#include <string>

namespace vaecomp {
namespace {

// Index of the best symbol among those allowed, where better(a, b) says that a precedes b; ties go to the lowest.
template <typename Allowed, typename Better>
std::size_t best_symbol(std::size_t size, Allowed allowed, Better better) {
    std::size_t best = size;
    for (std::size_t j = 0; j < size; ++j) {
        if (allowed(j) && (best == size || better(j, best))) best = j;
    }
    return best;
}

}  // namespace

FrequencyTable make_table(std::span<const std::int32_t> symbols) {
    const auto [least, most] = std::minmax_element(symbols.begin(), symbols.end());
    const std::int64_t range = std::int64_t{*most} - *least + 1;
    if (range > table_total) {
        throw Error(ErrorCode::invalid_argument, "symbols span " + std::to_string(range) +
                                                     " values; a table holds at most " + std::to_string(table_total));
    }
    const auto size = static_cast<std::size_t>(range);
    std::vector<std::uint64_t> counts(size);
    for (const std::int32_t symbol : symbols) ++counts[static_cast<std::size_t>(std::int64_t{symbol} - *least)];

    std::vector<std::uint64_t> scaled(size);
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < size; ++j) {
        if (counts[j] > 0) scaled[j] = std::max<std::uint64_t>(1, counts[j] * table_total / symbols.size());
        sum += scaled[j];
    }
    for (; sum < table_total; ++sum) {
        ++scaled[best_symbol(
            size, [&](std::size_t j) { return counts[j] > 0; },
            [&](std::size_t a, std::size_t b) { return counts[a] * scaled[b] > counts[b] * scaled[a]; })];
    }
    for (; sum > table_total; --sum) {
        --scaled[best_symbol(
            size, [&](std::size_t j) { return scaled[j] > 1; },
            [&](std::size_t a, std::size_t b) { return counts[a] * (scaled[b] - 1) < counts[b] * (scaled[a] - 1); })];
    }
    return {*least, {scaled.begin(), scaled.end()}};
}

void write_table(ByteWriter& writer, const FrequencyTable& table) {
    writer.zigzag(table.first);
    writer.varint(table.frequencies.size());
    for (const std::uint16_t frequency : table.frequencies) writer.varint(frequency);
}

FrequencyTable read_table(ByteReader& reader) {
    FrequencyTable table;
    const std::int64_t first = reader.zigzag("table's first symbol");
    const std::uint64_t size = reader.varint("table's size", 1, table_total);
    if (first < std::numeric_limits<std::int32_t>::min() ||
        first + static_cast<std::int64_t>(size) - 1 > std::numeric_limits<std::int32_t>::max()) {
        reader.fail("table", "symbols exceed 32 bits");
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

}  // namespace vaecomp
