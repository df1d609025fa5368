#include "format/symbol_section.hpp"

#include "entropy/symbol_stream.hpp"

namespace vaecomp::core {

std::optional<std::size_t> read_base(ByteReader& reader) {
    const std::uint64_t base = reader.varint("base section");
    return base == 0 ? std::nullopt : std::optional(static_cast<std::size_t>(base - 1));
}

std::optional<std::size_t> peek_base(Bytes section_start) {
    try {
        ByteReader reader(section_start, 0, "section");
        reader.varint("head's size");
        return read_base(reader);
    } catch (const Error&) {
        return std::nullopt;
    }
}

void read_axes(ByteReader& reader, std::span<const AxisValues> axes, SymbolRange range, const char* field,
               const char* problem, std::uint64_t max_symbols, std::size_t threads) {
    std::uint64_t count = 0;
    for (const AxisValues& axis : axes) {
        if (axis.length > max_symbols - count) reader.fail("matrix flags", "claim more than the file's size allows");
        count += axis.length;
    }
    SymbolStream stream(reader, range, count);
    if (stream.count() != count) reader.fail(field, problem);
    stream.place_in(reader);
    const auto values = stream.decode_in<std::int16_t>(reader, threads);
    auto begin = values.begin();
    for (const AxisValues& axis : axes) {
        const auto end = begin + static_cast<std::ptrdiff_t>(axis.length);
        axis.values->assign(begin, end);
        begin = end;
    }
}

CodedSymbols read_coded_symbols(ByteReader& reader, SymbolRange range, std::size_t count) {
    CodedSymbols coded;
    for (std::uint64_t tables = reader.varint("table count", 1, max_tables); tables > 0; --tables) {
        coded.tables.push_back(read_table(reader, range));
    }
    const std::size_t lanes = read_lanes(reader);
    coded.blocks = Blocks(reader, count, lanes);
    return coded;
}

void read_symbols(ByteReader& reader, std::uint64_t section_end, SymbolRange range, SymbolSection& section) {
    static_cast<CodedSymbols&>(section) = read_coded_symbols(reader, range, end_of(section.places));
    reader.expect_end("head's end");
    if (section.blocks.place(reader.offset()) != section_end) reader.fail("blocks", "do not fill the section");
}

}  // namespace vaecomp::core
