#include "encode/symbols.hpp"

#include <bit>

#include "encode/blocks.hpp"
#include "encode/histogram.hpp"
#include "entropy/symbol_stream.hpp"

namespace vaecomp::core {
namespace {

// Whether the lengths are positive and add up to `count`; their sum may exceed 64 bits.
bool partition(std::span<const std::size_t> lengths, std::size_t count) {
    for (const std::size_t length : lengths) {
        if (length == 0 || length > count) return false;
        count -= length;
    }
    return count == 0;
}

}  // namespace

void write_symbols(ByteWriter& head, Payload& payload, std::span<const std::int32_t> symbols,
                   std::span<const std::size_t> segments, std::size_t lanes, std::size_t threads) {
    if (lanes != 0 && (!std::has_single_bit(lanes) || lanes > max_lanes)) {
        throw Error(ErrorCode::invalid_argument, "lanes must be 1, 2, 4, 8, 16, 32 or 64");
    }
    if (!partition(segments, symbols.size()) || segments.size() > max_segments) {
        throw Error(ErrorCode::invalid_argument,
                    "segments must be at most 4096 positive lengths that add up to the number of symbols");
    }
    ByteWriter coded_tables;
    EncodingTables tables;
    std::size_t begin = 0;
    std::uint64_t code = 0;
    for (const std::size_t length : segments) {
        const Histogram histogram(symbols.subspan(begin, length));
        const FrequencyTable table = make_table(histogram);
        coded_tables.varint(length);
        write_table(coded_tables, table);
        tables.add(table);
        code += code_length(table, histogram);
        begin += length;
    }
    Vector<EncodingRun> runs;
    for (std::size_t s = 0; s < segments.size(); ++s) runs.push_back({nullptr, segments[s], s});

    if (lanes == 0) lanes = lanes_for(symbols.size(), code);
    head.varint(symbols.size());
    head.fixed(static_cast<std::uint8_t>(lanes));
    head.varint(segments.size());
    head.append(coded_tables.bytes());
    write_blocks(head, payload, symbols, tables, runs, lanes, threads);
}

Vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                    std::size_t lanes) {
    ByteWriter stream;
    Payload payload;
    write_symbols(stream, payload, symbols, segments, lanes, 0);
    payload.move_behind(stream.bytes(), 0);
    return std::move(stream.bytes());
}

}  // namespace vaecomp::core
