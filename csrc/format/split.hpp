// Floats whose high bits are symbols and whose low bits are stored (docs/format.md, Lossless).
#pragma once

#include <cstdint>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "format/matrix_shape.hpp"
#include "format/planes.hpp"
#include "format/symbol_section.hpp"

namespace vaecomp::core {

// What a split tensor has along its rows and columns, in the order of the flags.
enum SplitAxis : std::size_t { split_row_levels, split_column_levels, split_row_zeros };
inline constexpr std::size_t split_axis_count = 3;

// The items' high bits, exponents first, are `origin` plus their symbol. The symbol behind all others, `symbols`,
// stands for any others. Below are `low` bits, the sign at the bottom.
struct SplitTensor : CodedSymbols {
    MatrixShape shape{};  // of items
    unsigned item_bits = 0, low = 0;
    std::uint64_t origin = 0;
    std::int32_t symbols = 0;
    std::size_t level = 0;
    // Levels say which table a symbol has. Zeros are the lowest bits of a row's mantissas that are all 0 and not
    // stored. Empty stands for zeros.
    Vector<std::int16_t> axes[split_axis_count];

    [[nodiscard]] unsigned high_bits() const { return item_bits - low; }
    [[nodiscard]] std::size_t length(std::size_t axis) const {
        return axis == split_column_levels ? shape.columns : shape.rows;
    }
    [[nodiscard]] unsigned zeros(std::size_t row) const {
        return axes[split_row_zeros].empty() ? 0 : static_cast<unsigned>(axes[split_row_zeros][row]);
    }
    // The table of each of the items [begin, end).
    void contexts(std::size_t begin, std::size_t end, std::uint8_t* out) const;
};

inline constexpr std::int32_t max_split_symbols = 4095;

// Reads what follows the form; place() has to say where the blocks are.
SplitTensor read_split(ByteReader& reader, const PlanesShape& shape, std::uint64_t max_symbols, std::size_t threads);

}  // namespace vaecomp::core
