// What both sides of the lossless codec say of byte planes (docs/format.md, Lossless).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/dtype.hpp"
#include "entropy/blocks.hpp"
#include "format/matrix_shape.hpp"

namespace vaecomp::core {

struct PlanesShape {
    std::size_t elements;
    DType dtype;
    std::size_t rows = 1;  // of the matrix that the elements are

    // A complex number is two items.
    [[nodiscard]] std::size_t item_bytes() const { return info(dtype).swap_size; }
    [[nodiscard]] std::size_t element_items() const { return info(dtype).size / item_bytes(); }
    [[nodiscard]] std::size_t items() const { return elements * element_items(); }
};

// How a plane is, or of its first plane how the whole tensor is.
enum class PlaneForm : std::uint8_t { stored = 0, coded = 1, split = 2 };

// Whether items are turned by a bit, so that the exponent's bits share a byte.
inline bool is_rotated(const PlanesShape& shape) {
    return shape.item_bytes() > 1 && (is_real_float(shape.dtype) || is_complex(shape.dtype));
}

inline MatrixShape item_matrix(const PlanesShape& shape) {
    return {shape.rows, shape.rows == 0 ? 0 : shape.items() / shape.rows};
}

// Calls the function with an unsigned integer as wide as an item.
template <typename Function>
void with_word(std::size_t item_bytes, Function function) {
    switch (item_bytes) {
        case 1: function(std::uint8_t{}); break;
        case 2: function(std::uint16_t{}); break;
        case 4: function(std::uint32_t{}); break;
        default: function(std::uint64_t{}); break;
    }
}

// Such planes stand in the head, whose checksum covers them: blocks would cost more than they give.
inline bool is_small(const PlanesShape& shape) { return shape.items() <= 4096; }

inline std::size_t stored_size(std::size_t block, std::size_t items) {
    return std::min(block_symbols, items - block * block_symbols);
}

}  // namespace vaecomp::core
