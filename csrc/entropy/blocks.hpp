// A sequence of symbols cut into independent rANS blocks (docs/kernels.md, 5).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/checked_blocks.hpp"
#include "core/containers.hpp"
#include "entropy/rans.hpp"

namespace vaecomp::core {

inline constexpr std::size_t block_symbols = 131072;
constexpr std::size_t block_count(std::size_t symbols) { return (symbols + block_symbols - 1) / block_symbols; }
// How many symbols are decoded before they are used: few enough to stay in the first- or second-level cache.
inline constexpr std::size_t piece_symbols = 4096;

// The parts of runs that lie in [begin, end) of the sequence they make.
template <typename Run>
Vector<Run> cut_runs(std::span<const Run> runs, std::size_t begin, std::size_t end) {
    Vector<Run> parts;
    std::size_t at = 0;
    for (const Run& run : runs) {
        const std::size_t from = std::max(begin, at), to = std::min(end, at + run.length);
        if (from < to) {
            Run part = run;
            part.length = to - from;
            if constexpr (requires { part.contexts; }) {
                if (part.contexts != nullptr) part.contexts += from - at;
            }
            parts.push_back(part);
        }
        at += run.length;
    }
    return parts;
}

// Blocks of rANS symbols. Their directory has been read.
class Blocks {
  public:
    Blocks() = default;
    // Reads the directory of the blocks of `count` symbols; place() has to say where the blocks are.
    Blocks(ByteReader& reader, std::size_t count, std::size_t lanes);

    // The blocks stand one behind another from `offset` on. Returns where they end.
    std::uint64_t place(std::uint64_t offset) { return blocks_.place(offset); }
    // The blocks stand where the reader is. It moves behind them.
    void place_in(ByteReader& reader);

    [[nodiscard]] std::size_t size() const { return blocks_.size(); }
    [[nodiscard]] std::size_t begin(std::size_t block) const { return block * block_symbols; }
    [[nodiscard]] std::size_t end(std::size_t block) const { return std::min(count_, begin(block + 1)); }
    // Bytes of all blocks, without their directory.
    [[nodiscard]] std::uint64_t payload_bytes() const { return blocks_.bytes(); }

    // Calls `use` with a reader of each block, on several threads. It reads to the block's end. The numbers ascend.
    using Use = FunctionRef<void(std::size_t block, BlockReader& reader)>;
    void for_each(const Source& source, std::span<const std::size_t> numbers, std::size_t threads,
                  const Use& use) const;
    // The same for blocks that hold more than symbols.
    void for_each_bytes(const Source& source, std::span<const std::size_t> numbers, std::size_t threads,
                        const CheckedBlocks::Use& use) const;
    [[nodiscard]] std::size_t lanes() const { return lanes_; }

  private:
    std::size_t count_ = 0, lanes_ = 1;
    CheckedBlocks blocks_;
};

std::size_t read_lanes(ByteReader& reader);

}  // namespace vaecomp::core
