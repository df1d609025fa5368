#include "entropy/blocks.hpp"

#include <bit>
#include <string>

#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp {
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

void write_blocks(ByteWriter& writer, std::size_t count, const BlockEncoder& encode) {
    std::vector<std::vector<std::uint8_t>> blocks(block_count(count));
    parallel_for(blocks.size(), 0, [&](std::size_t b) {
        blocks[b] = encode(b * block_symbols, std::min(count, (b + 1) * block_symbols));
    });
    for (const std::vector<std::uint8_t>& block : blocks) {
        writer.varint(block.size());
        writer.fixed(kernels().crc32c(block.data(), block.size()));
    }
    for (const std::vector<std::uint8_t>& block : blocks) writer.append(block);
}

void write_blocks(ByteWriter& writer, std::span<const std::int32_t> symbols, std::span<const EncodingRun> runs,
                  std::size_t lanes) {
    write_blocks(writer, symbols.size(), [&](std::size_t begin, std::size_t end) {
        return encode_block(symbols.subspan(begin, end - begin), cut_runs(runs, begin, end), lanes);
    });
}

Blocks::Blocks(ByteReader& reader, std::size_t count, std::size_t lanes) : count_(count), lanes_(lanes) {
    std::vector<std::uint64_t> sizes;
    for (std::size_t b = 0; b < block_count(count); ++b) {
        sizes.push_back(reader.varint("block's size"));
        blocks_.push_back({{}, reader.fixed<std::uint32_t>("block's checksum"), 0});
    }
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
        blocks_[b].offset = reader.offset();
        blocks_[b].bytes = reader.take(sizes[b], "block");
        payload_bytes_ += blocks_[b].bytes.size();
    }
}

void Blocks::read(std::size_t block, const std::function<void(BlockReader& reader)>& use) const {
    const auto& [bytes, crc, offset] = blocks_[block];
    const std::string at = "block at offset " + std::to_string(offset) + ": ";
    if (kernels().crc32c(bytes.data(), bytes.size()) != crc) {
        throw Error(ErrorCode::checksum, at + "checksum does not match");
    }
    try {
        BlockReader reader(bytes, lanes_);
        use(reader);
        reader.expect_end();
    } catch (const Error& error) {
        throw Error(error.code(), at + error.what());
    }
}

std::size_t read_lanes(ByteReader& reader) {
    const std::size_t lanes = reader.fixed<std::uint8_t>("lanes");
    if (!std::has_single_bit(lanes) || lanes > most_lanes) reader.fail("lanes", "is not 1, 2, 4, 8, 16, 32 or 64");
    return lanes;
}

}  // namespace vaecomp
