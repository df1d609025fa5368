#include "entropy/symbol_stream.hpp"

#include <array>
#include <bit>
#include <string>

#include "core/parallel.hpp"

namespace vaecomp {
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

std::vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                         std::size_t lanes) {
    if (lanes != 0 && (!std::has_single_bit(lanes) || lanes > most_lanes)) {
        throw Error(ErrorCode::invalid_argument, "lanes must be 1, 2, 4, 8, 16, 32 or 64");
    }
    if (!partition(segments, symbols.size()) || segments.size() > most_segments) {
        throw Error(ErrorCode::invalid_argument,
                    "segments must be at most 4096 positive lengths that add up to the number of symbols");
    }
    ByteWriter head;
    head.varint(segments.size());
    std::vector<EncodingTable> tables;
    std::size_t begin = 0;
    std::uint64_t code = 0;
    for (const std::size_t length : segments) {
        const Histogram histogram(symbols.subspan(begin, length));
        const FrequencyTable table = make_table(histogram);
        head.varint(length);
        write_table(head, table);
        tables.emplace_back(table);
        code += code_length(table, histogram);
        begin += length;
    }
    std::vector<EncodingRun> runs;
    for (std::size_t s = 0; s < segments.size(); ++s) runs.push_back({&tables[s], nullptr, segments[s]});

    if (lanes == 0) lanes = lanes_for(symbols.size(), code);
    ByteWriter writer;
    writer.varint(symbols.size());
    writer.fixed(static_cast<std::uint8_t>(lanes));
    writer.append(head.bytes());
    write_blocks(writer, symbols, runs, lanes);
    return std::move(writer.bytes());
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
    table_bytes_ = before - reader.remaining() - blocks_.payload_bytes();
}

// Calls take(block, tables, begin, count), which has to read `count` symbols, for piece after piece of every block.
template <typename Take>
void SymbolStream::for_each_piece(std::size_t threads, const Take& take) const {
    const DecodingTables tables(tables_);
    std::vector<DecodingRun> runs;
    for (std::size_t s = 0; s < segments_.size(); ++s) runs.push_back({tables.view(s), segments_[s]});
    parallel_for(blocks_.size(), threads, [&](std::size_t b) {
        std::size_t begin = blocks_.begin(b);
        blocks_.read(b, [&](BlockReader& block) {
            for (const auto& [run_tables, length] : cut_runs<DecodingRun>(runs, begin, blocks_.end(b))) {
                for (std::size_t left = length; left > 0;) {
                    const std::size_t count = std::min(left, piece_symbols);
                    take(block, run_tables, begin, count);
                    begin += count;
                    left -= count;
                }
            }
        });
    });
}

void SymbolStream::decode(std::size_t threads, const Sink& sink) const {
    for_each_piece(threads, [&](BlockReader& block, const RansTables& tables, std::size_t begin, std::size_t count) {
        std::array<std::int32_t, piece_symbols> symbols;
        const auto piece = std::span(symbols).first(count);
        block.read(tables, nullptr, piece);
        sink(begin, piece);
    });
}

void SymbolStream::decode(std::span<std::int32_t> out, std::size_t threads) const {
    for_each_piece(threads, [&](BlockReader& block, const RansTables& tables, std::size_t begin, std::size_t count) {
        block.read(tables, nullptr, out.subspan(begin, count));
    });
}

}  // namespace vaecomp
