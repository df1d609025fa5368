#include "format/differences.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "entropy/symbol_stream.hpp"
#include "format/ordered.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {
namespace {

constexpr std::int32_t most_level = 8192;
constexpr SymbolRange level_range{0, 255};

struct DifferenceHead {
    std::uint8_t flags;
    std::int32_t level;
};

DifferenceHead read_matrix(ByteReader& reader) {
    const auto flags = reader.fixed<std::uint8_t>("matrix flags");
    if (flags > (difference_row_flag | difference_column_flag)) reader.fail("matrix flags", "has an unknown flag");
    const std::int64_t level = reader.zigzag("level");
    if (level < -most_level || level > most_level) reader.fail("level", "is outside -8192 to 8192");
    return {flags, static_cast<std::int32_t>(level)};
}

// Levels of rows and columns of all tensors are one stream.
void read_levels(ByteReader& reader, std::span<const DifferenceHead> heads, std::span<DifferenceMatrix> matrices,
                 std::uint64_t most_symbols, std::size_t threads) {
    Vector<Vector<std::int16_t>*> axes;
    Vector<std::size_t> lengths;
    std::uint64_t count = 0;
    for (std::size_t m = 0; m < matrices.size(); ++m) {
        const auto add = [&](std::uint8_t flag, Vector<std::int16_t>& axis, std::size_t length) {
            if (!(heads[m].flags & flag)) return;
            if (length > most_symbols - count) reader.fail("matrix flags", "claim more than the file's size allows");
            axes.push_back(&axis);
            lengths.push_back(length);
            count += length;
        };
        add(difference_row_flag, matrices[m].rows, matrices[m].shape.matrix.rows);
        add(difference_column_flag, matrices[m].columns, matrices[m].shape.matrix.columns);
    }
    SymbolStream stream(reader, level_range, count);
    if (stream.count() != count) reader.fail("levels", "are not as many as the matrices' flags ask for");
    stream.place_in(reader);
    const auto values = stream.decode_in<std::int16_t>(reader, threads);
    auto begin = values.begin();
    for (std::size_t a = 0; a < axes.size(); ++a) {
        const auto end = begin + static_cast<std::ptrdiff_t>(lengths[a]);
        axes[a]->assign(begin, end);
        begin = end;
    }
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
    const std::size_t width = shape.matrix.columns;
    for (std::size_t at = begin; at < end;) {
        const std::size_t i = at / width, j = at % width, length = std::min(width - j, end - at);
        const std::span<std::uint8_t> own(out + (at - begin), length);
        const std::uint8_t* const from = predicted + (at - begin) * info(shape.dtype).size;
        at += length;
        if (!rows.empty() && rows[i] == 0) {
            std::fill(own.begin(), own.end(), std::uint8_t{0});
            continue;
        }
        const std::int32_t row = level + (rows.empty() ? 0 : rows[i]);
        with_word(info(shape.dtype).size, [&]<typename Word>(Word) {
            if constexpr (sizeof(Word) > 1) {
                row_contexts<Word>(from, mantissa_bits(shape.dtype), row, columns.empty() ? nullptr : &columns[j],
                                   static_cast<std::int32_t>(last), own);
            }
        });
    }
}

DifferenceSection read_differences(ByteReader reader, std::uint64_t section_end,
                                   std::span<const DifferenceShape> shapes, std::uint64_t most_symbols,
                                   std::size_t threads) {
    DifferenceSection section;
    const std::uint64_t base = reader.varint("base section");
    if (base > 0) section.base = static_cast<std::size_t>(base - 1);
    section.detail = reader.fixed<std::uint8_t>("detail");
    if (section.detail > most_detail) reader.fail("detail", "exceeds 3");
    Vector<DifferenceHead> heads;
    std::size_t count = 0;
    for (const DifferenceShape& shape : shapes) {
        heads.push_back(read_matrix(reader));
        section.matrices.push_back({shape, heads.back().level, {}, {}});
        count += shape.matrix.count();
    }
    read_levels(reader, heads, section.matrices, most_symbols, threads);
    const SymbolRange range{-most_symbol(section.detail), most_symbol(section.detail)};
    for (std::uint64_t tables = reader.varint("table count", 1, most_tables); tables > 0; --tables) {
        section.tables.push_back(read_table(reader, range));
    }
    const std::size_t lanes = read_lanes(reader);
    section.blocks = Blocks(reader, count, lanes);
    reader.expect_end("head's end");
    if (section.blocks.place(reader.offset()) != section_end) reader.fail("blocks", "do not fill the section");
    return section;
}

}  // namespace vaecomp::core
