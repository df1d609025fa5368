// Tensors as differences from what the pack predicts, bit for bit (docs/format.md, Differences).
#pragma once

#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/dtype.hpp"
#include "format/matrix_shape.hpp"
#include "format/symbol_section.hpp"

namespace vaecomp::core {

// Which levels a tensor has.
inline constexpr std::uint8_t difference_row_flag = 1, difference_column_flag = 2;

struct DifferenceShape {
    MatrixShape matrix;
    DType dtype;
};

// A tensor but for its symbols.
struct DifferenceMatrix {
    DifferenceShape shape{};
    std::int32_t level = 0;
    Vector<std::int16_t> rows, columns;  // levels: of each row, of each column; empty: nothing is added

    // The table of each of the elements [begin, end), the first of which is predicted to be the first of `predicted`;
    // `last` is the last table.
    void contexts(std::size_t begin, std::size_t end, const std::uint8_t* predicted, std::size_t last,
                  std::uint8_t* out) const;
};

struct DifferenceSection : SymbolSection {
    unsigned detail = 0;
    Vector<DifferenceMatrix> matrices;
};

// Reads the head of a section that ends at `section_end`; see read_quantized.
DifferenceSection read_differences(ByteReader head, std::uint64_t section_end, std::span<const DifferenceShape> shapes,
                                   std::uint64_t max_symbols, std::size_t threads);

}  // namespace vaecomp::core
