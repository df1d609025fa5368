#include "encode/quantized.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "encode/axes.hpp"
#include "encode/blocks.hpp"
#include "encode/head.hpp"
#include "encode/histogram.hpp"
#include "format/head.hpp"

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

// Symbols and contexts of a stretch of the section's elements, which may lie in several matrices. A large model's are
// never all in one piece.
struct Stretch {
    Vector<std::int32_t> symbols;
    Vector<std::uint8_t> contexts;
};

std::size_t count_of(const Symbols& symbols) {
    return std::visit([](auto own) { return own.size(); }, symbols);
}

Stretch stretch_of(std::span<const QuantizedMatrix> matrices, std::span<const Symbols> symbols, std::size_t tables,
                   std::size_t begin, std::size_t end) {
    Stretch stretch;
    stretch.symbols.reserve(end - begin);
    stretch.contexts.resize(end - begin);
    std::size_t start = 0;
    for (std::size_t m = 0; m < matrices.size(); ++m) {
        const std::size_t count = count_of(symbols[m]);
        const std::size_t from = std::max(begin, start), to = std::min(end, start + count);
        if (from < to) {
            std::visit(
                [&](auto all) {
                    const auto own = all.subspan(from - start, to - from);
                    stretch.symbols.insert(stretch.symbols.end(), own.begin(), own.end());
                },
                symbols[m]);
            matrices[m].contexts(from - start, to - start, tables - 1, stretch.contexts.data() + (from - begin));
        }
        start += count;
    }
    return stretch;
}

// Nothing is ever written that the reader refuses.
void check_readable(Bytes section, std::span<const QuantizedMatrix> matrices) {
    try {
        Vector<MatrixShape> shapes;
        for (const QuantizedMatrix& matrix : matrices) shapes.push_back(matrix.shape);
        ByteReader reader(checked_bytes(SectionKind::quantized, section), 0, "quantized section");
        read_head_bytes(reader, section.size());
        static_cast<void>(read_quantized(reader, section.size(), shapes, std::numeric_limits<std::uint64_t>::max(), 0));
    } catch (const Error& error) {
        throw Error(ErrorCode::invalid_argument, error.what());
    }
}

bool holds(const Codebook& codebook, const Symbols& symbols) {
    const auto is_held = [&](std::int64_t symbol) {
        const std::int64_t at = symbol - codebook.first;
        return at >= 0 && at < static_cast<std::int64_t>(codebook.values.size());
    };
    return std::visit([&](auto own) { return std::all_of(own.begin(), own.end(), is_held); }, symbols);
}

void check_matrices(std::span<const QuantizedMatrix> matrices, std::span<const Symbols> symbols) {
    const auto require = [](bool condition, const char* message) {
        if (!condition) throw Error(ErrorCode::invalid_argument, message);
    };
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
    ByteWriter head, payload;
    head.varint(base ? *base + 1 : 0);
    for (const QuantizedMatrix& matrix : matrices) write_matrix(head, matrix);
    head.append(encode_all_axes(matrices));

    std::size_t count = 0;
    for (const Symbols& own : symbols) count += count_of(own);
    Vector<Histogram> histograms(1);
    for (std::size_t begin = 0; begin < count; begin += block_symbols) {
        const Stretch stretch = stretch_of(matrices, symbols, tables, begin, std::min(count, begin + block_symbols));
        for (std::size_t i = 0; i < stretch.symbols.size(); ++i) {
            const std::size_t context = stretch.contexts[i];
            if (context >= histograms.size()) histograms.resize(context + 1);
            histograms[context].add(stretch.symbols[i]);
        }
    }
    Vector<EncodingTable> coding;
    std::uint64_t code = 0;
    head.varint(histograms.size());
    for (const Histogram& histogram : histograms) {
        const FrequencyTable table = make_table(histogram);
        write_table(head, table);
        coding.emplace_back(table);
        code += code_length(table, histogram);
    }
    const std::size_t lanes = lanes_for(count, code);
    head.fixed(static_cast<std::uint8_t>(lanes));
    write_blocks(head, payload, count, [&](std::size_t begin, std::size_t end) {
        const Stretch stretch = stretch_of(matrices, symbols, tables, begin, end);
        const EncodingRun run{coding.data(), stretch.contexts.data(), end - begin};
        return encode_block(stretch.symbols, {&run, 1}, lanes);
    });
    Vector<std::uint8_t> section = join_head(head, payload);
    check_readable(section, matrices);
    return section;
}

}  // namespace vaecomp::core
