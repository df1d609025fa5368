// Quantized matrices: what turns their symbols into values, and the section they lie in (docs/format.md, Quantized).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "format/matrix_shape.hpp"
#include "format/symbol_section.hpp"

namespace vaecomp::core {

struct Codebook {
    std::int32_t first = 0;
    Vector<float> values;  // of symbol `first`, `first + 1`, ...
};

// The arrays along a matrix's rows and columns, in the order of their flags.
enum Axis : std::size_t { row_exponents, row_levels, column_exponents, column_levels };
inline constexpr std::size_t axis_count = 4;
// Behind theirs: whether a matrix has a codebook.
inline constexpr std::uint8_t codebook_flag = 1 << axis_count;

// A matrix but for its symbols.
struct QuantizedMatrix {
    MatrixShape shape{};
    float step = 1;
    std::size_t level = 0;
    std::array<Vector<std::int16_t>, axis_count> axes;  // empty: zeros
    std::optional<Codebook> codebook;

    [[nodiscard]] std::size_t length(std::size_t axis) const {
        return axis < column_exponents ? shape.rows : shape.columns;
    }

    // Of the reader's side: made from step and exponents.
    std::int32_t min_exponent = 0;
    Vector<float> scales;  // from the least exponent of an element to the greatest

    // Throws malformed, without saying where, if a scale is no normal number.
    void make_scales();
    // The table of each of the elements [begin, end); `last` is the last table.
    void contexts(std::size_t begin, std::size_t end, std::size_t last, std::uint8_t* out) const;
    // The values of the elements [begin, begin + symbols.size()). Throws malformed if the codebook lacks a symbol.
    void values(std::size_t begin, std::span<const std::int32_t> symbols, float* out) const;

  private:
    // The values of one row's elements, whose exponents are row + columns[j].
    void from_codebook(std::span<const std::int32_t> symbols, std::int32_t row, const std::int16_t* columns,
                       float* out) const;
};

struct QuantizedSection : SymbolSection {
    Vector<QuantizedMatrix> matrices;
};

// Reads the head of a section that ends at `section_end`. `shapes` are those of the section's tensors, `max_symbols`
// what the file's size allows them to number.
QuantizedSection read_quantized(ByteReader head, std::uint64_t section_end, std::span<const MatrixShape> shapes,
                                std::uint64_t max_symbols, std::size_t threads);

}  // namespace vaecomp::core
