#include "encode/blocks.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "core/parallel.hpp"
#include "kernels/encoder_kernels.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

using rans::lowest_state;

constexpr std::uint64_t bytes_a_lane = 512, lengths_a_byte = 8 * 256;

}  // namespace

void EncodingTables::add(const FrequencyTable& table) {
    zeros_.push_back(static_cast<std::uint32_t>(intervals_.size()) - static_cast<std::uint32_t>(table.first));
    std::uint32_t start = 0;
    for (const std::uint16_t frequency : table.frequencies) {
        intervals_.emplace_back(start, frequency);
        start += frequency;
    }
}

// A symbol makes one word at most.
BlockWriter::BlockWriter(std::size_t count, std::size_t lanes)
    : left_(count),
      lanes_(lanes),
      words_(std::make_unique_for_overwrite<std::uint16_t[]>(count + rans_words_ahead)),
      end_(words_.get() + count + rans_words_ahead) {
    std::fill(std::begin(state_.lanes), std::end(state_.lanes), lowest_state);
    state_.word = words_.get() + count + rans_words_ahead;
}

void BlockWriter::put(const EncodingTables& tables, std::span<const std::uint32_t> entries) {
    left_ -= entries.size();
    encoder_kernels().rans_encode(tables.intervals(), entries.data(), lanes_, left_, entries.size(), state_);
}

std::size_t BlockWriter::size() const { return 4 * lanes_ + 2 * static_cast<std::size_t>(end_ - state_.word); }

void BlockWriter::write(std::uint8_t* out) const {
    for (std::size_t lane = 0; lane < lanes_; ++lane, out += 4) store_le(out, state_.lanes[lane]);
    for (const std::uint16_t* word = state_.word; word != end_; ++word, out += 2) store_le(out, *word);
}

Vector<std::uint8_t> BlockWriter::block() const {
    Vector<std::uint8_t> block(size());
    write(block.data());
    return block;
}

BlockWriter encode_block(std::span<const std::int32_t> symbols, const EncodingTables& tables,
                         std::span<const EncodingRun> runs, std::size_t lanes) {
    BlockWriter writer(symbols.size(), lanes);
    std::array<std::uint32_t, piece_symbols> entries;
    std::size_t end = symbols.size();
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
        for (std::size_t left = run->length, count = 0; left > 0; left -= count, end -= count) {
            count = std::min(left, piece_symbols);
            const std::int32_t* const own = symbols.data() + end - count;
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t table = run->contexts == nullptr ? run->table : run->contexts[left - count + i];
                entries[i] = tables.entry(table, own[i]);
            }
            writer.put(tables, std::span(entries).first(count));
        }
    }
    return writer;
}

std::size_t lanes_for(std::size_t count, std::uint64_t length) {
    // A lane costs 4 bytes a block, so that light blocks get few.
    const std::uint64_t blocks_lengths = length * std::min(count, block_symbols);  // a block's length times `count`
    std::size_t lanes = max_lanes;
    while (lanes > 1 && (count == 0 || lanes * bytes_a_lane * lengths_a_byte * count > blocks_lengths)) lanes /= 2;
    return lanes;
}

void write_blocks(ByteWriter& head, Payload& payload, std::size_t count, std::size_t threads,
                  const BlockEncoder& encode) {
    Vector<Vector<std::uint8_t>> blocks(block_count(count));
    Vector<std::uint32_t> checksums(blocks.size());
    parallel_for(blocks.size(), threads, [&](std::size_t b) {
        blocks[b] = encode(b * block_symbols, std::min(count, (b + 1) * block_symbols));
        checksums[b] = kernels().crc32c(blocks[b].data(), blocks[b].size());
    });
    for (std::size_t b = 0; b < blocks.size(); ++b) {
        head.varint(blocks[b].size());
        head.fixed(checksums[b]);
        payload.append(std::move(blocks[b]));
    }
}

void write_blocks(ByteWriter& head, Payload& payload, std::span<const std::int32_t> symbols,
                  const EncodingTables& tables, std::span<const EncodingRun> runs, std::size_t lanes,
                  std::size_t threads) {
    write_blocks(head, payload, symbols.size(), threads, [&](std::size_t begin, std::size_t end) {
        return encode_block(symbols.subspan(begin, end - begin), tables, cut_runs(runs, begin, end), lanes).block();
    });
}

}  // namespace vaecomp::core
