// Parts of a file that each have a checksum and are read apart from each other.
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/function_ref.hpp"
#include "core/source.hpp"

namespace vaecomp::core {

// The numbers of the blocks of `block_items` items each that have items in [begin, end).
Vector<std::size_t> blocks_between(std::size_t begin, std::size_t end, std::size_t block_items);

class CheckedBlocks {
  public:
    void add(std::uint64_t bytes, std::uint32_t crc) { blocks_.push_back({0, bytes, crc}); }
    // The blocks stand one behind another from `offset` on. Returns where they end.
    std::uint64_t place(std::uint64_t offset);

    [[nodiscard]] std::size_t size() const { return blocks_.size(); }
    [[nodiscard]] std::uint64_t bytes() const;

    // Reads blocks, checks them and calls `use` with each, on several threads. Their numbers ascend. Errors name the
    // block.
    using Use = FunctionRef<void(std::size_t block, Bytes bytes)>;
    void for_each(const Source& source, std::span<const std::size_t> numbers, std::size_t threads,
                  const Use& use) const;

  private:
    struct Block {
        std::uint64_t offset, bytes;
        std::uint32_t crc;
    };

    void use_checked(std::size_t block, Bytes bytes, const Use& use) const;

    Vector<Block> blocks_;
};

}  // namespace vaecomp::core
