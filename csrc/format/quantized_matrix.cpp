#include <algorithm>
#include <bit>
#include <cmath>

#include "core/float_environment.hpp"
#include "format/levels.hpp"
#include "format/quantized.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

// The least and the greatest of an axis' values.
std::pair<std::int32_t, std::int32_t> bounds(const Vector<std::int16_t>& axis) {
    if (axis.empty()) return {0, 0};
    const auto [least, greatest] = std::minmax_element(axis.begin(), axis.end());
    return {*least, *greatest};
}

// Half octaves: step * 2^(exponent / 2), rounded once where the exponent is odd.
float scale(float step, std::int32_t exponent) {
    constexpr auto root_two = std::bit_cast<float>(0x3fb504f3);
    return std::ldexp(exponent & 1 ? step * root_two : step, exponent >> 1);
}

}  // namespace

void QuantizedMatrix::contexts(std::size_t begin, std::size_t end, std::size_t last, std::uint8_t* out) const {
    level_tables({shape, level, axes[row_levels], axes[column_levels]}, begin, end, last, out);
}

void QuantizedMatrix::make_scales() {
    const auto [min_row, greatest_row] = bounds(axes[row_exponents]);
    const auto [min_column, greatest_column] = bounds(axes[column_exponents]);
    min_exponent = min_row + min_column;
    const FloatEnvironment environment;
    for (std::int32_t exponent = min_exponent; exponent <= greatest_row + greatest_column; ++exponent) {
        scales.push_back(scale(step, exponent));
        if (!std::isnormal(scales.back())) throw Error(ErrorCode::malformed, "a scale is no normal float32 number");
    }
}

void QuantizedMatrix::values(std::size_t begin, std::span<const std::int32_t> symbols, float* out) const {
    const Vector<std::int16_t>&row_axis = axes[row_exponents], &column_axis = axes[column_exponents];
    const Scales table{scales.data(), scales.size()};
    for_each_row(shape, begin, begin + symbols.size(),
                 [&](std::size_t row, std::size_t column, std::size_t length, std::size_t at) {
                     const std::int32_t exponent = (row_axis.empty() ? 0 : row_axis[row]) - min_exponent;
                     const std::int16_t* columns = column_axis.empty() ? nullptr : column_axis.data() + column;
                     if (codebook) {
                         from_codebook(symbols.subspan(at, length), exponent, columns, out + at);
                     } else {
                         kernels().dequantize(symbols.data() + at, table, exponent, columns, length, out + at);
                     }
                 });
}

void QuantizedMatrix::from_codebook(std::span<const std::int32_t> symbols, std::int32_t row,
                                    const std::int16_t* columns, float* out) const {
    for (std::size_t j = 0; j < symbols.size(); ++j) {
        const auto at = static_cast<std::uint32_t>(symbols[j] - codebook->first);  // symbols are within int16
        if (at >= codebook->values.size()) throw Error(ErrorCode::malformed, "a symbol is not in the codebook");
        const std::int32_t exponent = row + (columns == nullptr ? 0 : columns[j]);
        out[j] = codebook->values[at] * scales[static_cast<std::size_t>(exponent)];
    }
}

}  // namespace vaecomp::core
