#include "encode/histogram.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "core/logarithm.hpp"

namespace vaecomp::core {
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

Histogram::Histogram(std::span<const std::int32_t> symbols) {
    for (const std::int32_t symbol : symbols) add(symbol);
}

void Histogram::add(std::int32_t symbol, std::uint64_t times) {
    if (counts_.empty()) first_ = symbol;
    const std::int64_t at = std::int64_t{symbol} - first_, size = static_cast<std::int64_t>(counts_.size());
    const std::int64_t span = std::max(at + 1, size) - std::min<std::int64_t>(at, 0);
    if (span > table_total) {
        throw Error(ErrorCode::invalid_argument, "symbols span " + std::to_string(span) +
                                                     " values; a table holds at most " + std::to_string(table_total));
    }
    if (at < 0) {
        counts_.insert(counts_.begin(), static_cast<std::size_t>(-at), 0);
        first_ = symbol;
    } else if (at >= size) {
        counts_.resize(static_cast<std::size_t>(at + 1));
    }
    counts_[static_cast<std::size_t>(std::int64_t{symbol} - first_)] += times;
}

void Histogram::add(const Histogram& other) {
    for (std::size_t j = 0; j < other.counts_.size(); ++j) {
        if (other.counts_[j] > 0)
            add(static_cast<std::int32_t>(other.first_ + static_cast<std::int64_t>(j)), other.counts_[j]);
    }
}

FrequencyTable make_table(const Histogram& histogram) {
    const Vector<std::uint64_t>& counts = histogram.counts();
    const std::size_t size = counts.size();
    if (size == 0) return {0, {static_cast<std::uint16_t>(table_total)}};
    const std::uint64_t total = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    Vector<std::uint64_t> scaled(size);
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < size; ++j) {
        if (counts[j] > 0) scaled[j] = std::max<std::uint64_t>(1, counts[j] * table_total / total);
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
    return {histogram.first(), {scaled.begin(), scaled.end()}};
}

std::uint64_t code_length(const FrequencyTable& table, const Histogram& histogram) {
    std::uint64_t sum = 0;
    auto frequency = table.frequencies.begin() + (histogram.first() - table.first);
    for (const std::uint64_t count : histogram.counts()) {
        if (count > 0) sum += count * (logarithm(table_total) - logarithm(*frequency));
        ++frequency;
    }
    return sum;
}

void write_table(ByteWriter& writer, const FrequencyTable& table) {
    writer.zigzag(table.first);
    writer.varint(table.frequencies.size());
    for (const std::uint16_t frequency : table.frequencies) writer.varint(frequency);
}

}  // namespace vaecomp::core
