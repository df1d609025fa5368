// Context levels: which table codes an element of a matrix (docs/format.md, Quantized and Lossless).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "format/matrix_shape.hpp"

namespace vaecomp::core {

// Levels of all elements, of rows and of columns; empty: zeros.
struct Levels {
    MatrixShape shape;
    std::size_t level;
    std::span<const std::int16_t> rows, columns;
};

// The table of each of the elements [begin, end): the sum of its levels, at most `last`.
void level_tables(const Levels& levels, std::size_t begin, std::size_t end, std::size_t last, std::uint8_t* out);

}  // namespace vaecomp::core
