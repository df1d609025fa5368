#include "entropy/blocks.hpp"

#include <bit>
#include <limits>

namespace vaecomp::core {

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

void Blocks::for_each_bytes(const Source& source, std::span<const std::size_t> numbers, std::size_t threads,
                            const CheckedBlocks::Use& use) const {
    blocks_.for_each(source, numbers, threads, use);
}

std::size_t read_lanes(ByteReader& reader) {
    const std::size_t lanes = reader.fixed<std::uint8_t>("lanes");
    if (!std::has_single_bit(lanes) || lanes > max_lanes) reader.fail("lanes", "is not 1, 2, 4, 8, 16, 32 or 64");
    return lanes;
}

}  // namespace vaecomp::core
