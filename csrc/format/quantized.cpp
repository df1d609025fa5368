#include "format/quantized.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "entropy/symbol_stream.hpp"

namespace vaecomp::core {
namespace {

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
    QuantizedMatrix matrix;
    std::uint8_t flags;
};

MatrixHead read_matrix(ByteReader& reader, const MatrixShape& shape) {
    QuantizedMatrix matrix;
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
            const SymbolRange range = axis_ranges[axis];
            if (std::any_of(begin, end, [&](int value) { return value < range.least || value > range.most; })) {
                reader.fail("axes",
                            "a value is outside " + std::to_string(range.least) + " to " + std::to_string(range.most));
            }
            head.matrix.axes[axis].assign(begin, end);
            begin = end;
        });
    }
}

std::optional<std::size_t> read_base(ByteReader& reader) {
    const std::uint64_t base = reader.varint("base section");
    return base == 0 ? std::nullopt : std::optional(static_cast<std::size_t>(base - 1));
}

}  // namespace

std::optional<std::size_t> peek_base(Bytes section_start) {
    try {
        ByteReader reader(section_start, 0, "quantized section");
        reader.varint("head's size");
        return read_base(reader);
    } catch (const Error&) {
        return std::nullopt;
    }
}

QuantizedSection read_quantized(ByteReader reader, std::uint64_t section_end, std::span<const MatrixShape> shapes,
                                std::uint64_t most_symbols, std::size_t threads) {
    QuantizedSection section;
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

}  // namespace vaecomp::core
