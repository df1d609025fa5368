#include "encode/symbol_section.hpp"

#include <algorithm>
#include <mutex>

#include "core/parallel.hpp"
#include "encode/histogram.hpp"
#include "format/head.hpp"

namespace vaecomp::core {
namespace {

// How often each table's symbols occur in a stretch.
Vector<Histogram> histograms_of(const Stretch& stretch) {
    const auto [least, greatest] = std::minmax_element(stretch.symbols.begin(), stretch.symbols.end());
    const std::int32_t first = *least;
    const auto width = static_cast<std::size_t>(std::int64_t{*greatest} - first + 1);
    const std::size_t tables = 1 + std::size_t{*std::max_element(stretch.contexts.begin(), stretch.contexts.end())};
    Vector<std::uint32_t> counts(tables * width);
    for (std::size_t i = 0; i < stretch.symbols.size(); ++i) {
        ++counts[stretch.contexts[i] * width + static_cast<std::size_t>(stretch.symbols[i] - first)];
    }
    Vector<Histogram> histograms(tables);
    for (std::size_t t = 0; t < tables; ++t) {
        for (std::size_t s = 0; s < width; ++s) {
            const std::uint32_t count = counts[t * width + s];
            if (count > 0) histograms[t].add(static_cast<std::int32_t>(s) + first, count);
        }
    }
    return histograms;
}

// The same of all stretches.
Vector<Histogram> histograms_of(std::size_t elements, SymbolTables::Make make) {
    Vector<Histogram> all(1);
    std::mutex mutex;
    parallel_ranges(elements, block_symbols, 0, [&](std::size_t begin, std::size_t end) {
        const Vector<Histogram> own = histograms_of(make(begin, end));
        const std::lock_guard lock(mutex);
        if (own.size() > all.size()) all.resize(own.size());
        for (std::size_t t = 0; t < own.size(); ++t) all[t].add(own[t]);
    });
    return all;
}

}  // namespace

void write_base(ByteWriter& head, std::optional<std::size_t> base) { head.varint(base ? *base + 1 : 0); }

SymbolTables::SymbolTables(ByteWriter& head, std::size_t elements, Make make) {
    const Vector<Histogram> histograms = histograms_of(elements, make);
    std::uint64_t code = 0;
    head.varint(histograms.size());
    for (const Histogram& histogram : histograms) {
        const FrequencyTable table = make_table(histogram);
        write_table(head, table);
        tables_.add(table);
        code += code_length(table, histogram);
    }
    lanes_ = lanes_for(elements, code);
    head.fixed(static_cast<std::uint8_t>(lanes_));
}

BlockWriter SymbolTables::encode(const Stretch& stretch) const {
    const EncodingRun run{stretch.contexts.data(), stretch.symbols.size()};
    return encode_block(stretch.symbols, tables_, {&run, 1}, lanes_);
}

void check_readable(SectionKind kind, const char* part, Bytes section, FunctionRef<void(ByteReader head)> read) {
    try {
        ByteReader reader(checked_bytes(kind, section), 0, part);
        read_head_bytes(reader, section.size());
        read(reader);
    } catch (const Error& error) {
        throw Error(ErrorCode::invalid_argument, error.what());
    }
}

}  // namespace vaecomp::core
