#include "entropy/symbol_stream.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp {
namespace {

constexpr std::size_t most_segments = 4096, symbols_a_lane = 1024;

std::size_t block_count(std::size_t symbols) { return (symbols + block_symbols - 1) / block_symbols; }

// A lane costs 4 bytes a block, so that short streams get few.
std::size_t lanes_for(std::size_t count) {
    return std::clamp<std::size_t>(std::bit_floor(count / symbols_a_lane), 1, most_lanes);
}

// Whether the lengths are positive and add up to `count`; their sum may exceed 64 bits.
bool partition(std::span<const std::size_t> lengths, std::size_t count) {
    for (const std::size_t length : lengths) {
        if (length == 0 || length > count) return false;
        count -= length;
    }
    return count == 0;
}

}  // namespace

std::vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                         std::size_t lanes) {
    if (lanes == 0) lanes = lanes_for(symbols.size());
    if (!std::has_single_bit(lanes) || lanes > most_lanes) {
        throw Error(ErrorCode::invalid_argument, "lanes must be 1, 2, 4, 8, 16 or 32");
    }
    if (!partition(segments, symbols.size()) || segments.size() > most_segments) {
        throw Error(ErrorCode::invalid_argument,
                    "segments must be at most 4096 positive lengths that add up to the number of symbols");
    }
    ByteWriter writer;
    writer.varint(symbols.size());
    writer.fixed(static_cast<std::uint8_t>(lanes));
    writer.varint(segments.size());
    std::vector<FrequencyTable> tables;
    std::size_t begin = 0;
    for (const std::size_t length : segments) {
        tables.push_back(make_table(symbols.subspan(begin, length)));
        writer.varint(length);
        write_table(writer, tables.back());
        begin += length;
    }
    std::vector<std::uint8_t> payload;
    std::size_t segment = 0, left = segments.empty() ? 0 : segments[0];
    for (std::size_t at = 0; at < symbols.size(); at += block_symbols) {
        const std::size_t size = std::min(block_symbols, symbols.size() - at);
        std::vector<EncodingRun> runs;
        for (std::size_t covered = 0; covered < size;) {
            if (left == 0) left = segments[++segment];
            const std::size_t length = std::min(left, size - covered);
            runs.push_back({&tables[segment], length});
            covered += length;
            left -= length;
        }
        const std::vector<std::uint8_t> block = encode_block(symbols.subspan(at, size), runs, lanes);
        writer.varint(block.size());
        writer.fixed(kernels().crc32c(block.data(), block.size()));
        payload.insert(payload.end(), block.begin(), block.end());
    }
    writer.append(payload);
    return std::move(writer.bytes());
}

SymbolStream::SymbolStream(ByteReader& reader, Range range, std::uint64_t most_count) {
    const std::size_t before = reader.remaining();
    count_ = static_cast<std::size_t>(reader.varint("stream's count", 0, most_count));
    lanes_ = reader.fixed<std::uint8_t>("stream's lanes");
    if (!std::has_single_bit(lanes_) || lanes_ > most_lanes)
        reader.fail("stream's lanes", "is not 1, 2, 4, 8, 16 or 32");
    const std::uint64_t segments =
        reader.varint("stream's segment count", count_ > 0 ? 1 : 0, count_ > 0 ? most_segments : 0);
    std::size_t begin = 0;
    for (std::uint64_t s = 0; s < segments; ++s) {
        const std::size_t left = count_ - begin;
        if (left == 0) reader.fail("segments", "lengths exceed the stream's count");
        const auto length = static_cast<std::size_t>(reader.varint("segment's length", 1, left));
        segments_.push_back({begin, read_table(reader)});
        const FrequencyTable& table = segments_.back().table;
        if (table.first < range.least || table.last() > range.most) {
            reader.fail("table",
                        "symbols are outside " + std::to_string(range.least) + " to " + std::to_string(range.most));
        }
        begin += length;
    }
    if (begin != count_) reader.fail("segments", "lengths do not add up to the stream's count");

    std::vector<std::uint64_t> sizes;
    for (std::size_t b = 0; b < block_count(count_); ++b) {
        sizes.push_back(reader.varint("block's size"));
        blocks_.push_back({{}, reader.fixed<std::uint32_t>("block's checksum"), 0});
    }
    table_bytes_ = before - reader.remaining();
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
        blocks_[b].offset = reader.offset();
        blocks_[b].bytes = reader.take(sizes[b], "block");
    }
}

std::vector<DecodingRun> SymbolStream::runs_of(std::size_t block, std::span<const DecodingTable> tables) const {
    const std::size_t begin = block * block_symbols, end = std::min(count_, begin + block_symbols);
    std::vector<DecodingRun> runs;
    for (std::size_t s = 0; s < segments_.size(); ++s) {
        const std::size_t from = std::max(begin, segments_[s].begin);
        const std::size_t to = std::min(end, s + 1 < segments_.size() ? segments_[s + 1].begin : count_);
        if (from < to) runs.push_back({&tables[s], to - from});
    }
    return runs;
}

template <typename Symbol>
void SymbolStream::decode(std::span<Symbol> out, std::size_t threads) const {
    std::vector<DecodingTable> tables;
    tables.reserve(segments_.size());
    for (const Segment& segment : segments_) tables.emplace_back(segment.table);
    parallel_for(blocks_.size(), threads, [&](std::size_t b) {
        const Block& block = blocks_[b];
        const std::string at = "block at offset " + std::to_string(block.offset) + ": ";
        if (kernels().crc32c(block.bytes.data(), block.bytes.size()) != block.crc) {
            throw Error(ErrorCode::checksum, at + "checksum does not match");
        }
        const std::size_t begin = b * block_symbols;
        std::vector<std::int32_t> symbols(std::min(block_symbols, count_ - begin));
        try {
            decode_block(block.bytes, runs_of(b, tables), lanes_, symbols);
        } catch (const Error& error) {
            throw Error(error.code(), at + error.what());
        }
        std::transform(symbols.begin(), symbols.end(), out.begin() + static_cast<std::ptrdiff_t>(begin),
                       [](std::int32_t symbol) { return static_cast<Symbol>(symbol); });
    });
}

template void SymbolStream::decode(std::span<std::int8_t>, std::size_t) const;
template void SymbolStream::decode(std::span<std::int32_t>, std::size_t) const;

}  // namespace vaecomp
