#include "entropy/symbol_stream.hpp"

#include <array>
#include <bit>

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

struct DecodingRun {
    RansTables tables;
    std::size_t length;
};

}  // namespace

void write_symbols(ByteWriter& head, ByteWriter& payload, std::span<const std::int32_t> symbols,
                   std::span<const std::size_t> segments, std::size_t lanes) {
    if (lanes != 0 && (!std::has_single_bit(lanes) || lanes > most_lanes)) {
        throw Error(ErrorCode::invalid_argument, "lanes must be 1, 2, 4, 8, 16, 32 or 64");
    }
    if (!partition(segments, symbols.size()) || segments.size() > most_segments) {
        throw Error(ErrorCode::invalid_argument,
                    "segments must be at most 4096 positive lengths that add up to the number of symbols");
    }
    ByteWriter coded_tables;
    Vector<EncodingTable> tables;
    std::size_t begin = 0;
    std::uint64_t code = 0;
    for (const std::size_t length : segments) {
        const Histogram histogram(symbols.subspan(begin, length));
        const FrequencyTable table = make_table(histogram);
        coded_tables.varint(length);
        write_table(coded_tables, table);
        tables.emplace_back(table);
        code += code_length(table, histogram);
        begin += length;
    }
    Vector<EncodingRun> runs;
    for (std::size_t s = 0; s < segments.size(); ++s) runs.push_back({&tables[s], nullptr, segments[s]});

    if (lanes == 0) lanes = lanes_for(symbols.size(), code);
    head.varint(symbols.size());
    head.fixed(static_cast<std::uint8_t>(lanes));
    head.varint(segments.size());
    head.append(coded_tables.bytes());
    write_blocks(head, payload, symbols, runs, lanes);
}

Vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                    std::size_t lanes) {
    ByteWriter stream, payload;
    write_symbols(stream, payload, symbols, segments, lanes);
    stream.append(payload.bytes());
    return std::move(stream.bytes());
}

SymbolStream::SymbolStream(ByteReader& reader, SymbolRange range, std::uint64_t most_count) {
    const std::size_t before = reader.remaining();
    count_ = static_cast<std::size_t>(reader.varint("stream's count", 0, most_count));
    const std::size_t lanes = read_lanes(reader);
    const std::uint64_t segments =
        reader.varint("stream's segment count", count_ > 0 ? 1 : 0, count_ > 0 ? most_segments : 0);
    std::size_t left = count_;
    for (std::uint64_t s = 0; s < segments; ++s) {
        if (left == 0) reader.fail("segments", "lengths exceed the stream's count");
        segments_.push_back(static_cast<std::size_t>(reader.varint("segment's length", 1, left)));
        tables_.push_back(read_table(reader, range));
        left -= segments_.back();
    }
    if (left != 0) reader.fail("segments", "lengths do not add up to the stream's count");
    blocks_ = Blocks(reader, count_, lanes);
    table_bytes_ = before - reader.remaining();
}

// Calls take(reader, tables, begin, count), which has to read `count` symbols, for piece after piece of every block
// with symbols in [begin, end).
template <typename Take>
void SymbolStream::for_each_piece(const Source& source, std::size_t begin, std::size_t end, std::size_t threads,
                                  const Take& take) const {
    const DecodingTables tables(tables_);
    Vector<DecodingRun> runs;
    for (std::size_t s = 0; s < segments_.size(); ++s) runs.push_back({tables.view(s), segments_[s]});
    blocks_.for_each(source, blocks_between(begin, end, block_symbols), threads,
                     [&](std::size_t b, BlockReader& block) {
                         std::size_t at = blocks_.begin(b);
                         for (const auto& [run_tables, length] : cut_runs<DecodingRun>(runs, at, blocks_.end(b))) {
                             for (std::size_t left = length; left > 0;) {
                                 const std::size_t count = std::min(left, piece_symbols);
                                 take(block, run_tables, at, count);
                                 at += count;
                                 left -= count;
                             }
                         }
                     });
}

void SymbolStream::decode(const Source& source, std::size_t begin, std::size_t end, std::size_t threads,
                          const Sink& sink) const {
    for_each_piece(source, begin, end, threads,
                   [&](BlockReader& block, const RansTables& tables, std::size_t at, std::size_t count) {
                       std::array<std::int32_t, piece_symbols> symbols;
                       const auto piece = std::span(symbols).first(count);
                       block.read(tables, nullptr, piece);
                       sink(at, piece);
                   });
}

void SymbolStream::decode(const Source& source, std::span<std::int32_t> out, std::size_t threads) const {
    for_each_piece(source, 0, count_, threads,
                   [&](BlockReader& block, const RansTables& tables, std::size_t at, std::size_t count) {
                       block.read(tables, nullptr, out.subspan(at, count));
                   });
}

}  // namespace vaecomp::core
