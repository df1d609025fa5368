#include "format/residual.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "entropy/symbol_stream.hpp"
#include "format/head.hpp"

namespace vaecomp::core {
namespace {

constexpr std::uint8_t codebook_flag = 1 << axis_count;
constexpr std::size_t most_level = 255, most_codebook = 4096;
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
    const std::uint64_t size = reader.varint("codebook's size", 1, most_codebook);
    if (first < symbol_range.least || first > symbol_range.most - static_cast<std::int64_t>(size) + 1) {
        reader.fail("codebook", "symbols are outside int16");
    }
    codebook.first = static_cast<std::int32_t>(first);
    for (std::uint64_t i = 0; i < size; ++i) codebook.values.push_back(read_bfloat16(reader, "codebook"));
    return codebook;
}

// A matrix but for the values of its axes, of which the flags say which there are.
struct MatrixHead {
    ResidualMatrix matrix;
    std::uint8_t flags;
};

MatrixHead read_matrix(ByteReader& reader, const MatrixShape& shape) {
    ResidualMatrix matrix;
    matrix.shape = shape;
    matrix.step = read_bfloat16(reader, "step");
    if (!(matrix.step > 0)) reader.fail("step", "is not above 0");
    const auto flags = reader.fixed<std::uint8_t>("matrix flags");
    if (flags >= 2 * codebook_flag) reader.fail("matrix flags", "has an unknown flag");
    matrix.level = static_cast<std::size_t>(reader.varint("context level", 0, most_level));
    if (flags & codebook_flag) matrix.codebook = read_codebook(reader);
    return {std::move(matrix), flags};
}

// Calls axis(number, length) for every axis that a matrix has.
template <typename Visit>
void for_each_axis(const MatrixHead& head, Visit axis) {
    for (std::size_t number = 0; number < axis_count; ++number) {
        if (head.flags >> number & 1) axis(number, head.matrix.shape.length(number));
    }
}

void read_axes(ByteReader& reader, std::span<MatrixHead> heads, std::uint64_t most_symbols, std::size_t threads) {
    std::uint64_t count = 0;
    for (const MatrixHead& head : heads) {
        for_each_axis(head, [&](std::size_t, std::size_t length) {
            if (length > most_symbols - count) reader.fail("matrix flags", "claim more than the file's size allows");
            count += length;
        });
    }
    SymbolStream stream(reader, axes_range, count);
    if (stream.count() != count) reader.fail("axes", "are not as many values as the matrices' flags ask for");
    stream.place_in(reader);
    const auto values = stream.decode_in<std::int16_t>(reader, threads);
    auto begin = values.begin();
    for (MatrixHead& head : heads) {
        for_each_axis(head, [&](std::size_t axis, std::size_t length) {
            const auto end = begin + static_cast<std::ptrdiff_t>(length);
            const auto [least, most] = axis_ranges[axis];
            if (std::any_of(begin, end, [&](std::int16_t value) { return value < least || value > most; })) {
                reader.fail("axes", "a value is outside " + std::to_string(least) + " to " + std::to_string(most));
            }
            head.matrix.axes[axis].assign(begin, end);
            begin = end;
        });
    }
}

void write_bfloat16(ByteWriter& writer, float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (bits & 0xffff) throw Error(ErrorCode::invalid_argument, "steps and codebooks must be bfloat16 numbers");
    writer.fixed(static_cast<std::uint16_t>(bits >> 16));
}

void write_matrix(ByteWriter& writer, const ResidualMatrix& matrix) {
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

// What a segment of these symbols takes, in 1/256 of a bit.
std::uint64_t segment_length(const Histogram& histogram) {
    const FrequencyTable table = make_table(histogram);
    ByteWriter writer;
    write_table(writer, table);
    return code_length(table, histogram) + 8 * 256 * writer.size();
}

// Where to change tables: neighbouring arrays share one if that is not larger, or if there are too many.
Vector<std::size_t> axes_segments(std::span<const Vector<std::int16_t>* const> arrays) {
    Vector<std::size_t> segments;
    Histogram last;
    for (const Vector<std::int16_t>* array : arrays) {
        Histogram next, both = last;
        for (const std::int16_t value : *array) next.add(value);
        both.add(next);
        const bool merge =
            segments.size() == most_segments || segment_length(both) <= segment_length(last) + segment_length(next);
        if (merge && !segments.empty()) {
            segments.back() += array->size();
            last = std::move(both);
        } else {
            segments.push_back(array->size());
            last = std::move(next);
        }
    }
    return segments;
}

Vector<std::uint8_t> encode_axes(std::span<const ResidualMatrix> matrices) {
    Vector<const Vector<std::int16_t>*> arrays;
    Vector<std::int32_t> values;
    for (const ResidualMatrix& matrix : matrices) {
        for (const Vector<std::int16_t>& axis : matrix.axes) {
            if (axis.empty()) continue;
            arrays.push_back(&axis);
            values.insert(values.end(), axis.begin(), axis.end());
        }
    }
    return encode_symbols(values, axes_segments(arrays), 0);
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

Stretch stretch_of(std::span<const ResidualMatrix> matrices, std::span<const Symbols> symbols, std::size_t tables,
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
void check_readable(Bytes section, std::span<const ResidualMatrix> matrices) {
    try {
        Vector<MatrixShape> shapes;
        for (const ResidualMatrix& matrix : matrices) shapes.push_back(matrix.shape);
        ByteReader reader(checked_bytes(SectionKind::residual, section), 0, "residual section");
        read_head_bytes(reader, section.size());
        static_cast<void>(read_residual(reader, section.size(), shapes, std::numeric_limits<std::uint64_t>::max(), 0));
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

void check_matrices(std::span<const ResidualMatrix> matrices, std::span<const Symbols> symbols) {
    const auto require = [](bool condition, const char* message) {
        if (!condition) throw Error(ErrorCode::invalid_argument, message);
    };
    require(matrices.size() == symbols.size(), "there must be symbols for each matrix");
    for (std::size_t m = 0; m < matrices.size(); ++m) {
        const ResidualMatrix& matrix = matrices[m];
        require(count_of(symbols[m]) == matrix.shape.count(), "the symbols must fill their matrix");
        for (std::size_t axis = 0; axis < axis_count; ++axis) {
            require(matrix.axes[axis].empty() || matrix.axes[axis].size() == matrix.shape.length(axis),
                    "exponents and levels must have one value for each row or column");
        }
        for (const std::int16_t level : matrix.axes[row_levels]) require(level >= 0, "levels must not be negative");
        for (const std::int16_t level : matrix.axes[column_levels]) require(level >= 0, "levels must not be negative");
        require(!matrix.codebook || holds(*matrix.codebook, symbols[m]), "every symbol must be in its codebook");
    }
}

std::optional<std::size_t> read_base(ByteReader& reader) {
    const std::uint64_t base = reader.varint("base section");
    return base == 0 ? std::nullopt : std::optional(static_cast<std::size_t>(base - 1));
}

}  // namespace

std::optional<std::size_t> peek_base(Bytes section_start) {
    try {
        ByteReader reader(section_start, 0, "residual section");
        reader.varint("head's size");
        return read_base(reader);
    } catch (const Error&) {
        return std::nullopt;
    }
}

ResidualSection read_residual(ByteReader reader, std::uint64_t section_end, std::span<const MatrixShape> shapes,
                              std::uint64_t most_symbols, std::size_t threads) {
    ResidualSection section;
    section.base = read_base(reader);
    Vector<MatrixHead> heads;
    for (const MatrixShape& shape : shapes) heads.push_back(read_matrix(reader, shape));
    read_axes(reader, heads, most_symbols, threads);
    std::size_t count = 0;
    for (MatrixHead& head : heads) {
        try {
            head.matrix.make_scales();
        } catch (const Error& error) {
            reader.fail("axes", error.what());
        }
        count += head.matrix.shape.count();
        section.matrices.push_back(std::move(head.matrix));
    }
    const std::uint64_t tables = reader.varint("table count", 1, most_tables);
    for (std::uint64_t t = 0; t < tables; ++t) section.tables.push_back(read_table(reader, symbol_range));
    const std::size_t lanes = read_lanes(reader);
    section.blocks = Blocks(reader, count, lanes);
    reader.expect_end("head's end");
    if (section.blocks.place(reader.offset()) != section_end) reader.fail("blocks", "do not fill the section");
    return section;
}

Vector<std::uint8_t> encode_residual(std::optional<std::size_t> base, std::span<const ResidualMatrix> matrices,
                                     std::span<const Symbols> symbols, std::size_t tables) {
    check_matrices(matrices, symbols);
    ByteWriter head, payload;
    head.varint(base ? *base + 1 : 0);
    for (const ResidualMatrix& matrix : matrices) write_matrix(head, matrix);
    head.append(encode_axes(matrices));

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
