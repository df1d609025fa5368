// What quantized and differences sections share: a base, levels along rows and columns, and one symbol an element
// (docs/format.md, Quantized and Differences).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/extent.hpp"
#include "entropy/blocks.hpp"

namespace vaecomp::core {

inline constexpr std::size_t max_tables = 256;

// A sequence of symbols under several tables; place() of the blocks has to say where they are.
struct CodedSymbols {
    Vector<FrequencyTable> tables;
    Blocks blocks;
};

struct SymbolSection : CodedSymbols {
    std::optional<std::size_t> base;  // a section
    Vector<Extent> places;            // where each tensor's elements lie in the sequence of all
};

// How many of a section's first bytes say what its base is.
inline constexpr std::size_t base_bytes = 20;
// The base that a section names, without a check of anything; none if there is none, or no number.
std::optional<std::size_t> peek_base(Bytes section_start);

std::optional<std::size_t> read_base(ByteReader& reader);

// An array along rows or columns that a section has.
struct AxisValues {
    Vector<std::int16_t>* values;
    std::size_t length;
};
// The stream of all axes: `field` in messages, with `problem` if it has another number of values. `max_symbols` is
// what the file's size allows these to number.
void read_axes(ByteReader& reader, std::span<const AxisValues> axes, SymbolRange range, const char* field,
               const char* problem, std::uint64_t max_symbols, std::size_t threads);

// Tables and directory of `count` symbols.
CodedSymbols read_coded_symbols(ByteReader& reader, SymbolRange range, std::size_t count);

// Tables and directory, with which the head ends, of the symbols of all places; the section ends at `section_end`.
void read_symbols(ByteReader& reader, std::uint64_t section_end, SymbolRange range, SymbolSection& section);

}  // namespace vaecomp::core
