#include "encode/quantized.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "core/extent.hpp"
#include "encode/axes.hpp"
#include "encode/head.hpp"
#include "encode/symbol_section.hpp"

namespace vaecomp::core {
namespace {

void write_bfloat16(ByteWriter& writer, float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (bits & 0xffff) throw Error(ErrorCode::invalid_argument, "steps and codebooks must be bfloat16 numbers");
    writer.fixed(static_cast<std::uint16_t>(bits >> 16));
}

void write_matrix(ByteWriter& writer, const QuantizedMatrix& matrix) {
    write_bfloat16(writer, matrix.step);
    unsigned flags = matrix.codebook ? codebook_flag : 0;
    for (std::size_t axis = 0; axis < axis_count; ++axis) flags |= unsigned{!matrix.axes[axis].empty()} << axis;
    writer.fixed(static_cast<std::uint8_t>(flags));
    writer.varint(matrix.level);
    if (!matrix.codebook) return;
    writer.zigzag(matrix.codebook->first);
    writer.varint(matrix.codebook->values.size());
    for (const float value : matrix.codebook->values) write_bfloat16(writer, value);
}

Vector<std::uint8_t> encode_all_axes(std::span<const QuantizedMatrix> matrices) {
    Vector<const Vector<std::int16_t>*> arrays;
    for (const QuantizedMatrix& matrix : matrices) {
        for (const Vector<std::int16_t>& axis : matrix.axes) arrays.push_back(&axis);
    }
    return encode_axes(arrays);
}

std::size_t count_of(const Symbols& symbols) {
    return std::visit([](auto own) { return own.size(); }, symbols);
}

Vector<Extent> places_of(std::span<const QuantizedMatrix> matrices) {
    Vector<Extent> places;
    for (const QuantizedMatrix& matrix : matrices) append_part(places, matrix.shape.count());
    return places;
}

void append(Vector<std::int32_t>& symbols, const Symbols& more, std::size_t first, std::size_t count) {
    std::visit(
        [&](auto all) {
            const auto own = all.subspan(first, count);
            symbols.insert(symbols.end(), own.begin(), own.end());
        },
        more);
}

void check_readable(Bytes section, std::span<const QuantizedMatrix> matrices) {
    Vector<MatrixShape> shapes;
    for (const QuantizedMatrix& matrix : matrices) shapes.push_back(matrix.shape);
    check_readable(SectionKind::quantized, "quantized section", section, [&](ByteReader head) {
        static_cast<void>(read_quantized(head, section.size(), shapes, std::numeric_limits<std::uint64_t>::max(), 0));
    });
}

bool holds(const Codebook& codebook, const Symbols& symbols) {
    const auto is_held = [&](std::int64_t symbol) {
        const std::int64_t at = symbol - codebook.first;
        return at >= 0 && at < static_cast<std::int64_t>(codebook.values.size());
    };
    return std::visit([&](auto own) { return std::all_of(own.begin(), own.end(), is_held); }, symbols);
}

void check_matrices(std::span<const QuantizedMatrix> matrices, std::span<const Symbols> symbols) {
    require(matrices.size() == symbols.size(), "there must be symbols for each matrix");
    for (std::size_t m = 0; m < matrices.size(); ++m) {
        const QuantizedMatrix& matrix = matrices[m];
        require(count_of(symbols[m]) == matrix.shape.count(), "the symbols must fill their matrix");
        for (std::size_t axis = 0; axis < axis_count; ++axis) {
            require(matrix.axes[axis].empty() || matrix.axes[axis].size() == matrix.length(axis),
                    "exponents and levels must have one value for each row or column");
        }
        for (const std::int16_t level : matrix.axes[row_levels]) require(level >= 0, "levels must not be negative");
        for (const std::int16_t level : matrix.axes[column_levels]) require(level >= 0, "levels must not be negative");
        require(!matrix.codebook || holds(*matrix.codebook, symbols[m]), "every symbol must be in its codebook");
    }
}

}  // namespace

Vector<std::uint8_t> encode_quantized(std::optional<std::size_t> base, std::span<const QuantizedMatrix> matrices,
                                      std::span<const Symbols> symbols, std::size_t tables) {
    check_matrices(matrices, symbols);
    ByteWriter head;
    Payload payload;
    write_base(head, base);
    for (const QuantizedMatrix& matrix : matrices) write_matrix(head, matrix);
    head.append(encode_all_axes(matrices));

    const Vector<Extent> places = places_of(matrices);
    const auto stretch = [&](std::size_t begin, std::size_t end) {
        Stretch made;
        made.symbols.reserve(end - begin);
        made.contexts.resize(end - begin);
        for_each_overlap(std::span<const Extent>(places), begin, end,
                         [&](std::size_t m, std::size_t first, std::size_t count, std::size_t at) {
                             append(made.symbols, symbols[m], first, count);
                             matrices[m].contexts(first, first + count, tables - 1, made.contexts.data() + at);
                         });
        return made;
    };
    const SymbolTables coding(head, end_of(places), stretch);
    write_blocks(head, payload, end_of(places), 0,
                 [&](std::size_t begin, std::size_t end) { return coding.encode(stretch(begin, end)).block(); });
    Vector<std::uint8_t> section = join_head(head, payload);
    check_readable(section, matrices);
    return section;
}

}  // namespace vaecomp::core
