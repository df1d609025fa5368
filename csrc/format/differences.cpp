#include "format/differences.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "format/ordered.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {
namespace {

constexpr std::int32_t max_level = 8192;
constexpr SymbolRange level_range{0, 255};

// Adds the levels that the matrix has to those that are read.
void read_matrix(ByteReader& reader, DifferenceMatrix& matrix, Vector<AxisValues>& levels) {
    const auto flags = reader.fixed<std::uint8_t>("matrix flags");
    if (flags > (difference_row_flag | difference_column_flag)) reader.fail("matrix flags", "has an unknown flag");
    const std::int64_t level = reader.zigzag("level");
    if (level < -max_level || level > max_level) reader.fail("level", "is outside -8192 to 8192");
    matrix.level = static_cast<std::int32_t>(level);
    if (flags & difference_row_flag) levels.push_back({&matrix.rows, matrix.shape.matrix.rows});
    if (flags & difference_column_flag) levels.push_back({&matrix.columns, matrix.shape.matrix.columns});
}

// An exponent field of `mask` below the sign.
template <typename Word>
void row_contexts(const std::uint8_t* predicted, unsigned shift, std::int32_t row, const std::int16_t* columns,
                  std::int32_t last, std::span<std::uint8_t> out) {
    const auto mask = static_cast<Word>(std::numeric_limits<Word>::max() >> 1 >> shift);
    for (std::size_t j = 0; j < out.size(); ++j) {
        Word bits;
        std::memcpy(&bits, predicted + j * sizeof(Word), sizeof(Word));
        const auto exponent = static_cast<std::int32_t>(static_cast<Word>(bits >> shift) & mask);
        const std::int32_t column = columns == nullptr ? 0 : columns[j];
        const std::int32_t context = std::clamp(((row + column) >> 1) - exponent, 0, last);
        out[j] = columns != nullptr && column == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(context);
    }
}

}  // namespace

void DifferenceMatrix::contexts(std::size_t begin, std::size_t end, const std::uint8_t* predicted, std::size_t last,
                                std::uint8_t* out) const {
    for_each_row(shape.matrix, begin, end, [&](std::size_t i, std::size_t j, std::size_t length, std::size_t at) {
        const std::span<std::uint8_t> own(out + at, length);
        if (!rows.empty() && rows[i] == 0) {
            std::fill(own.begin(), own.end(), std::uint8_t{0});
            return;
        }
        const std::int32_t row = level + (rows.empty() ? 0 : rows[i]);
        const std::size_t size = info(shape.dtype).size;
        with_word(size, [&]<typename Word>(Word) {
            if constexpr (sizeof(Word) > 1) {
                row_contexts<Word>(predicted + at * size, mantissa_bits(shape.dtype), row,
                                   columns.empty() ? nullptr : &columns[j], static_cast<std::int32_t>(last), own);
            }
        });
    });
}

DifferenceSection read_differences(ByteReader reader, std::uint64_t section_end,
                                   std::span<const DifferenceShape> shapes, std::uint64_t max_symbols,
                                   std::size_t threads) {
    DifferenceSection section;
    section.base = read_base(reader);
    section.detail = reader.fixed<std::uint8_t>("detail");
    if (section.detail > max_detail) reader.fail("detail", "exceeds 3");
    for (const DifferenceShape& shape : shapes) {
        section.matrices.push_back({shape, 0, {}, {}});
        append_part(section.places, shape.matrix.count());
    }
    Vector<AxisValues> levels;
    for (DifferenceMatrix& matrix : section.matrices) read_matrix(reader, matrix, levels);
    read_axes(reader, levels, level_range, "levels", "are not as many as the matrices' flags ask for", max_symbols,
              threads);
    read_symbols(reader, section_end, {-max_symbol(section.detail), max_symbol(section.detail)}, section);
    return section;
}

}  // namespace vaecomp::core
