#include "entropy/symbol_stream.hpp"

#include <array>

namespace vaecomp::core {
namespace {

struct DecodingRun {
    RansTables tables;
    std::size_t length;
};

}  // namespace

SymbolStream::SymbolStream(ByteReader& reader, SymbolRange range, std::uint64_t max_count) {
    const std::size_t before = reader.remaining();
    count_ = static_cast<std::size_t>(reader.varint("stream's count", 0, max_count));
    const std::size_t lanes = read_lanes(reader);
    const std::uint64_t segments =
        reader.varint("stream's segment count", count_ > 0 ? 1 : 0, count_ > 0 ? max_segments : 0);
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

// Calls take(reader, tables, begin, count) for piece after piece of every block with symbols in [begin, end). It has to
// read `count` symbols.
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
