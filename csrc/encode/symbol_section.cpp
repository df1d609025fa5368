#include "encode/symbol_section.hpp"

#include <algorithm>

#include "encode/histogram.hpp"
#include "format/head.hpp"

namespace vaecomp::core {
namespace {

// How often each table's symbols occur.
Vector<Histogram> histograms_of(std::size_t elements, SymbolTables::Make make) {
    Vector<Histogram> histograms(1);
    for (std::size_t begin = 0; begin < elements; begin += block_symbols) {
        const Stretch stretch = make(begin, std::min(elements, begin + block_symbols));
        for (std::size_t i = 0; i < stretch.symbols.size(); ++i) {
            const std::size_t context = stretch.contexts[i];
            if (context >= histograms.size()) histograms.resize(context + 1);
            histograms[context].add(stretch.symbols[i]);
        }
    }
    return histograms;
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
        tables_.emplace_back(table);
        code += code_length(table, histogram);
    }
    lanes_ = lanes_for(elements, code);
    head.fixed(static_cast<std::uint8_t>(lanes_));
}

Vector<std::uint8_t> SymbolTables::encode(const Stretch& stretch) const {
    const EncodingRun run{tables_.data(), stretch.contexts.data(), stretch.symbols.size()};
    return encode_block(stretch.symbols, {&run, 1}, lanes_);
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
