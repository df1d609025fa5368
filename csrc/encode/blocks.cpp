#include "encode/blocks.hpp"

#include <array>
#include <limits>

#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

using rans::lowest_state;
using rans::table_bits;

constexpr std::uint64_t bytes_a_lane = 512, lengths_a_byte = 8 * 256;

// The high half of a product.
std::uint64_t high_product(std::uint32_t a, std::uint64_t b) {
    return (((b & 0xffffffff) * a >> 32) + (b >> 32) * a) >> 32;
}

EncodingTable::Interval interval_of(std::uint32_t start, std::uint32_t frequency) {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    // There is no reciprocal of 1: the quotient is one too small, and the addend makes up for it.
    if (frequency <= 1) return {most, start + table_total - 1, frequency};
    // 2^64 / frequency, rounded up: exact quotients of 32-bit numbers.
    return {most / frequency + 1, start, frequency};
}

}  // namespace

EncodingTable::EncodingTable(const FrequencyTable& table) : first(table.first) {
    std::uint32_t start = 0;
    for (const std::uint16_t frequency : table.frequencies) {
        intervals.push_back(interval_of(start, frequency));
        start += frequency;
    }
}

Vector<std::uint8_t> encode_block(std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                                  std::size_t lanes) {
    std::array<std::uint32_t, max_lanes> states;
    states.fill(lowest_state);
    // Words come last to first. A symbol makes one at most.
    Vector<std::uint16_t> words(symbols.size() + 1);
    std::uint16_t* word = words.data() + words.size();
    std::size_t end = symbols.size();
    for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
        const std::size_t begin = end - run->length;
        for (std::size_t i = end; i-- > begin;) {
            const EncodingTable& table = run->tables[run->contexts == nullptr ? 0 : run->contexts[i - begin]];
            const EncodingTable::Interval& interval =
                table.intervals[static_cast<std::size_t>(symbols[i] - table.first)];
            std::uint32_t x = states[i & (lanes - 1)];
            // Whether a word is due is hard to predict: no branch.
            const bool is_due = x >= std::uint64_t{interval.frequency} << 20;
            word[-1] = static_cast<std::uint16_t>(x);
            word -= is_due;
            x >>= is_due ? 16 : 0;
            const auto quotient = static_cast<std::uint32_t>(high_product(x, interval.reciprocal));
            states[i & (lanes - 1)] = x + interval.addend + quotient * (table_total - interval.frequency);
        }
        end = begin;
    }
    ByteWriter writer;
    for (std::size_t lane = 0; lane < lanes; ++lane) writer.fixed(states[lane]);
    for (; word != words.data() + words.size(); ++word) writer.fixed(*word);
    return std::move(writer.bytes());
}

std::size_t lanes_for(std::size_t count, std::uint64_t length) {
    // A lane costs 4 bytes a block, so that light blocks get few.
    const std::uint64_t blocks_lengths = length * std::min(count, block_symbols);  // a block's length times `count`
    std::size_t lanes = max_lanes;
    while (lanes > 1 && (count == 0 || lanes * bytes_a_lane * lengths_a_byte * count > blocks_lengths)) lanes /= 2;
    return lanes;
}

void write_blocks(ByteWriter& head, ByteWriter& payload, std::size_t count, const BlockEncoder& encode) {
    Vector<Vector<std::uint8_t>> blocks(block_count(count));
    parallel_for(blocks.size(), 0, [&](std::size_t b) {
        blocks[b] = encode(b * block_symbols, std::min(count, (b + 1) * block_symbols));
    });
    for (const Vector<std::uint8_t>& block : blocks) {
        head.varint(block.size());
        head.fixed(kernels().crc32c(block.data(), block.size()));
        payload.append(block);
    }
}

void write_blocks(ByteWriter& head, ByteWriter& payload, std::span<const std::int32_t> symbols,
                  std::span<const EncodingRun> runs, std::size_t lanes) {
    write_blocks(head, payload, symbols.size(), [&](std::size_t begin, std::size_t end) {
        return encode_block(symbols.subspan(begin, end - begin), cut_runs(runs, begin, end), lanes);
    });
}

}  // namespace vaecomp::core
