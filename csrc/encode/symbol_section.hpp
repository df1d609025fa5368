// What the encoders of quantized and differences sections share (format/symbol_section.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/containers.hpp"
#include "core/function_ref.hpp"
#include "encode/blocks.hpp"
#include "encode/byte_writer.hpp"
#include "format/layout.hpp"

namespace vaecomp::core {

inline void require(bool condition, const char* problem) {
    if (!condition) throw Error(ErrorCode::invalid_argument, problem);
}

// What elements that follow each other become. They may lie in several tensors. A large model's elements are never all
// in one piece.
struct Stretch {
    Vector<std::int32_t> symbols;
    Vector<std::uint8_t> contexts;  // by symbol: its table
};

void write_base(ByteWriter& head, std::optional<std::size_t> base);

// A table for each context, made from all symbols of a section.
class SymbolTables {
  public:
    // Returns what the elements [begin, end) become.
    using Make = FunctionRef<Stretch(std::size_t begin, std::size_t end)>;
    // Writes the tables and the number of lanes.
    SymbolTables(ByteWriter& head, std::size_t elements, Make make);

    [[nodiscard]] BlockWriter encode(const Stretch& stretch) const;

  private:
    EncodingTables tables_;
    std::size_t lanes_;
};

// Reads the head of a section, so that nothing is ever written that the reader refuses. Messages call it `part`.
void check_readable(SectionKind kind, const char* part, Bytes section, FunctionRef<void(ByteReader head)> read);

}  // namespace vaecomp::core
