#include "entropy/blocks.hpp"

#include <bit>
#include <limits>

#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

constexpr std::uint64_t bytes_a_lane = 512, lengths_a_byte = 8 * 256;

std::size_t block_count(std::size_t symbols) { return (symbols + block_symbols - 1) / block_symbols; }

}  // namespace

std::size_t lanes_for(std::size_t count, std::uint64_t length) {
    // A lane costs 4 bytes a block, so that light blocks get few.
    const std::uint64_t blocks_lengths = length * std::min(count, block_symbols);  // a block's length times `count`
    std::size_t lanes = most_lanes;
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

Blocks::Blocks(ByteReader& reader, std::size_t count, std::size_t lanes) : count_(count), lanes_(lanes) {
    std::uint64_t left = std::numeric_limits<std::int64_t>::max();
    for (std::size_t b = 0; b < block_count(count); ++b) {
        const std::uint64_t bytes = reader.varint("block's size", 0, left);
        left -= bytes;
        blocks_.add(bytes, reader.fixed<std::uint32_t>("block's checksum"));
    }
}

void Blocks::place_in(ByteReader& reader) {
    place(reader.offset());
    reader.take(payload_bytes(), "blocks");
}

void Blocks::for_each(const Source& source, std::span<const std::size_t> numbers, std::size_t threads,
                      const Use& use) const {
    blocks_.for_each(source, numbers, threads, [&](std::size_t block, Bytes bytes) {
        BlockReader reader(bytes, lanes_);
        use(block, reader);
        reader.expect_end();
    });
}

std::size_t read_lanes(ByteReader& reader) {
    const std::size_t lanes = reader.fixed<std::uint8_t>("lanes");
    if (!std::has_single_bit(lanes) || lanes > most_lanes) reader.fail("lanes", "is not 1, 2, 4, 8, 16, 32 or 64");
    return lanes;
}

}  // namespace vaecomp::core
