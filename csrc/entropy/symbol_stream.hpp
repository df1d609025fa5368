// A sequence of symbols in segments with a frequency table each (docs/format.md, Symbol stream).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/bytes.hpp"
#include "entropy/blocks.hpp"

namespace vaecomp {

inline constexpr std::size_t most_segments = 4096;

// `segments` are the lengths of the parts that get a table each; they add up to symbols.size(). lanes 0: by size.
std::vector<std::uint8_t> encode_symbols(std::span<const std::int32_t> symbols, std::span<const std::size_t> segments,
                                         std::size_t lanes);

// A stream whose header has been read and checked; its bytes stay where they are.
class SymbolStream {
  public:
    // Reads the stream and moves the reader behind it. `most_count` bounds the count before anything is allocated.
    SymbolStream(ByteReader& reader, SymbolRange range, std::uint64_t most_count);

    [[nodiscard]] std::size_t count() const { return count_; }
    // Bytes of everything but the blocks: what entropy tables cost.
    [[nodiscard]] std::size_t table_bytes() const { return table_bytes_; }

    // What takes the symbols from `begin` on; called for piece after piece, from several threads at once.
    using Sink = std::function<void(std::size_t begin, std::span<const std::int32_t> symbols)>;
    void decode(std::size_t threads, const Sink& sink) const;

    // All of them, at once in their place.
    void decode(std::span<std::int32_t> out, std::size_t threads) const;

    // All of them in a type that holds them.
    template <typename Symbol>
    void decode(std::span<Symbol> out, std::size_t threads) const {
        decode(threads, [out](std::size_t begin, std::span<const std::int32_t> symbols) {
            for (std::size_t i = 0; i < symbols.size(); ++i) out[begin + i] = static_cast<Symbol>(symbols[i]);
        });
    }

  private:
    template <typename Take>
    void for_each_piece(std::size_t threads, const Take& take) const;

    std::size_t count_ = 0, table_bytes_ = 0;
    std::vector<std::size_t> segments_;  // their lengths
    std::vector<FrequencyTable> tables_;
    Blocks blocks_;
};

}  // namespace vaecomp
