// Tensors as matrices, and a walk through their rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace vaecomp::core {

struct MatrixShape {
    std::size_t rows, columns;

    [[nodiscard]] std::size_t count() const { return rows * columns; }
};

// Rows are the first dimension; scalars and vectors have one row.
inline MatrixShape matrix_shape(std::span<const std::size_t> shape) {
    std::size_t rows = 1, columns = 1;
    for (std::size_t d = 0; d < shape.size(); ++d) (d == 0 && shape.size() > 1 ? rows : columns) *= shape[d];
    return {rows, columns};
}

// Calls piece(row, column, length, at) for the parts of the elements [begin, end) that lie in one row; `at` counts from
// `begin`.
template <typename Piece>
void for_each_row(const MatrixShape& shape, std::size_t begin, std::size_t end, Piece piece) {
    for (std::size_t at = begin; at < end;) {
        const std::size_t row = at / shape.columns, column = at % shape.columns;
        const std::size_t length = std::min(shape.columns - column, end - at);
        piece(row, column, length, at - begin);
        at += length;
    }
}

}  // namespace vaecomp::core
