#include "format/quantized.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

namespace vaecomp::core {
namespace {

constexpr std::size_t max_level = 255, max_codebook = 4096;
constexpr SymbolRange symbol_range{-32768, 32767};
// By axis; the stream of all axes holds the values of both kinds.
constexpr SymbolRange exponent_range{-64, 64}, level_range{0, 255}, axes_range{-64, 255};
constexpr std::array<SymbolRange, axis_count> axis_ranges = {exponent_range, level_range, exponent_range, level_range};

float read_bfloat16(ByteReader& reader, const char* field) {
    const auto value = std::bit_cast<float>(std::uint32_t{reader.fixed<std::uint16_t>(field)} << 16);
    if (!std::isfinite(value)) reader.fail(field, "is not finite");
    return value;
}

Codebook read_codebook(ByteReader& reader) {
    Codebook codebook;
    const std::int64_t first = reader.zigzag("codebook's first symbol");
    const std::uint64_t size = reader.varint("codebook's size", 1, max_codebook);
    if (first < symbol_range.least || first > symbol_range.most - static_cast<std::int64_t>(size) + 1) {
        reader.fail("codebook", "symbols are outside int16");
    }
    codebook.first = static_cast<std::int32_t>(first);
    for (std::uint64_t i = 0; i < size; ++i) codebook.values.push_back(read_bfloat16(reader, "codebook"));
    return codebook;
}

// All but the values of its axes, which are added to those that are read.
void read_matrix(ByteReader& reader, QuantizedMatrix& matrix, Vector<AxisValues>& axes) {
    matrix.step = read_bfloat16(reader, "step");
    if (!(matrix.step > 0)) reader.fail("step", "is not above 0");
    const auto flags = reader.fixed<std::uint8_t>("matrix flags");
    if (flags >= 2 * codebook_flag) reader.fail("matrix flags", "has an unknown flag");
    matrix.level = static_cast<std::size_t>(reader.varint("context level", 0, max_level));
    if (flags & codebook_flag) matrix.codebook = read_codebook(reader);
    for (std::size_t axis = 0; axis < axis_count; ++axis) {
        if (flags >> axis & 1) axes.push_back({&matrix.axes[axis], matrix.length(axis)});
    }
}

void check_axes(const ByteReader& reader, const QuantizedMatrix& matrix) {
    for (std::size_t axis = 0; axis < axis_count; ++axis) {
        const SymbolRange range = axis_ranges[axis];
        const Vector<std::int16_t>& values = matrix.axes[axis];
        if (std::all_of(values.begin(), values.end(),
                        [&](int value) { return value >= range.least && value <= range.most; })) {
            continue;
        }
        reader.fail("axes", "a value is outside " + std::to_string(range.least) + " to " + std::to_string(range.most));
    }
}

}  // namespace

QuantizedSection read_quantized(ByteReader reader, std::uint64_t section_end, std::span<const MatrixShape> shapes,
                                std::uint64_t max_symbols, std::size_t threads) {
    QuantizedSection section;
    section.base = read_base(reader);
    for (const MatrixShape& shape : shapes) {
        section.matrices.emplace_back().shape = shape;
        append_part(section.places, shape.count());
    }
    Vector<AxisValues> axes;
    for (QuantizedMatrix& matrix : section.matrices) read_matrix(reader, matrix, axes);
    read_axes(reader, axes, axes_range, "axes", "are not as many values as the matrices' flags ask for", max_symbols,
              threads);
    for (const QuantizedMatrix& matrix : section.matrices) check_axes(reader, matrix);
    for (QuantizedMatrix& matrix : section.matrices) {
        try {
            matrix.make_scales();
        } catch (const Error& error) {
            reader.fail("axes", error.what());
        }
    }
    read_symbols(reader, section_end, symbol_range, section);
    return section;
}

}  // namespace vaecomp::core
