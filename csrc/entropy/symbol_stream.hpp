// A sequence of symbols in segments, each with a frequency table of its own (docs/format.md, Symbol stream).
#pragma once

#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "entropy/blocks.hpp"

namespace vaecomp::core {

inline constexpr std::size_t max_segments = 4096;

// A stream whose head has been read and checked; its blocks stay where they are.
class SymbolStream {
  public:
    // Reads the head. `max_count` bounds the count before anything is allocated.
    SymbolStream(ByteReader& reader, SymbolRange range, std::uint64_t max_count);

    [[nodiscard]] std::size_t count() const { return count_; }
    // Bytes of the head: what entropy tables cost.
    [[nodiscard]] std::size_t table_bytes() const { return table_bytes_; }
    // See Blocks.
    std::uint64_t place(std::uint64_t offset) { return blocks_.place(offset); }
    void place_in(ByteReader& reader) { blocks_.place_in(reader); }

    // Takes the symbols from `begin` on. It is called for piece after piece, from several threads at once.
    using Sink = FunctionRef<void(std::size_t begin, std::span<const std::int32_t> symbols)>;
    // Decodes all blocks with symbols in [begin, end).
    void decode(const Source& source, std::size_t begin, std::size_t end, std::size_t threads, const Sink& sink) const;

    // Decodes all symbols straight to their places.
    void decode(const Source& source, std::span<std::int32_t> out, std::size_t threads) const;

    // All symbols of a stream within `reader`'s bytes, in a type that holds them.
    template <typename Symbol>
    [[nodiscard]] Vector<Symbol> decode_in(const ByteReader& reader, std::size_t threads) const {
        Vector<Symbol> out(count_);
        const MemorySource source(reader.bytes(), reader.first_offset());
        decode(source, 0, count_, threads, [&](std::size_t begin, std::span<const std::int32_t> symbols) {
            for (std::size_t i = 0; i < symbols.size(); ++i) out[begin + i] = static_cast<Symbol>(symbols[i]);
        });
        return out;
    }

  private:
    template <typename Take>
    void for_each_piece(const Source& source, std::size_t begin, std::size_t end, std::size_t threads,
                        const Take& take) const;

    std::size_t count_ = 0, table_bytes_ = 0;
    Vector<std::size_t> segments_;  // their lengths
    Vector<FrequencyTable> tables_;
    Blocks blocks_;
};

}  // namespace vaecomp::core
