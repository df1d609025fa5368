#include "encode/differences.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/extent.hpp"
#include "encode/axes.hpp"
#include "encode/blocks.hpp"
#include "encode/head.hpp"
#include "encode/histogram.hpp"
#include "format/head.hpp"
#include "format/ordered.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {
namespace {

// Numbers of a few bits each, the lowest first.
class BitWriter {
  public:
    void put(std::uint64_t value, unsigned bits) {
        if (bits > half) {
            put(value & (std::numeric_limits<std::uint64_t>::max() >> half), half);
            value >>= half;
            bits -= half;
        }
        pending_ |= value << filled_;
        for (filled_ += bits; filled_ >= 8; filled_ -= 8, pending_ >>= 8) {
            bytes_.push_back(static_cast<std::uint8_t>(pending_));
        }
    }
    // All of them, the last byte filled up with zeros.
    Vector<std::uint8_t> finish() {
        if (filled_ > 0) bytes_.push_back(static_cast<std::uint8_t>(pending_));
        return std::move(bytes_);
    }

  private:
    static constexpr unsigned half = 32;
    Vector<std::uint8_t> bytes_;
    std::uint64_t pending_ = 0;
    unsigned filled_ = 0;  // bits of `pending_`, fewer than 8
};

// What the elements of a stretch of the section become. A large model's are never all in one piece.
struct Stretch {
    Vector<std::int32_t> symbols;
    Vector<std::uint8_t> contexts;
    BitWriter bits;
};

class Encoder {
  public:
    Encoder(unsigned detail, std::span<const DifferenceSource> tensors, std::size_t tables)
        : detail_(detail), tensors_(tensors), last_(tables - 1) {
        for (const DifferenceSource& tensor : tensors) {
            places_.push_back({count_, tensor.matrix.shape.matrix.count()});
            count_ += places_.back().count;
        }
    }

    [[nodiscard]] std::size_t count() const { return count_; }

    [[nodiscard]] Stretch stretch(std::size_t begin, std::size_t end) const {
        Stretch stretch;
        stretch.symbols.reserve(end - begin);
        stretch.contexts.resize(end - begin);
        for_each_overlap(std::span<const Extent>(places_), begin, end,
                         [&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
                             const DifferenceSource& own = tensors_[t];
                             const std::size_t size = info(own.matrix.shape.dtype).size;
                             own.matrix.contexts(first, first + count, own.predicted + first * size, last_,
                                                 stretch.contexts.data() + at);
                             with_word(size, [&]<typename Word>(Word) {
                                 add_differences<Word>(own, first, first + count, stretch);
                             });
                         });
        return stretch;
    }

  private:
    template <typename Word>
    void add_differences(const DifferenceSource& tensor, std::size_t begin, std::size_t end, Stretch& stretch) const {
        for (std::size_t i = begin; i < end; ++i) {
            Word word, predicted;
            std::memcpy(&word, tensor.data + i * sizeof(Word), sizeof(Word));
            std::memcpy(&predicted, tensor.predicted + i * sizeof(Word), sizeof(Word));
            const SplitDifference parts = split(difference(word, predicted), detail_);
            stretch.symbols.push_back(parts.symbol);
            stretch.bits.put(parts.raw, parts.raw_bits);
        }
    }

    unsigned detail_;
    std::span<const DifferenceSource> tensors_;
    std::size_t last_, count_ = 0;
    Vector<Extent> places_;
};

void write_heads(ByteWriter& head, std::span<const DifferenceSource> tensors) {
    Vector<const Vector<std::int16_t>*> axes;
    for (const DifferenceSource& tensor : tensors) {
        const DifferenceMatrix& matrix = tensor.matrix;
        head.fixed(static_cast<std::uint8_t>((matrix.rows.empty() ? 0 : difference_row_flag) |
                                             (matrix.columns.empty() ? 0 : difference_column_flag)));
        head.zigzag(matrix.level);
        axes.insert(axes.end(), {&matrix.rows, &matrix.columns});
    }
    head.append(encode_axes(axes));
}

// How often each table's symbols occur.
Vector<Histogram> histograms_of(const Encoder& encoder) {
    Vector<Histogram> histograms(1);
    for (std::size_t begin = 0; begin < encoder.count(); begin += block_symbols) {
        const Stretch stretch = encoder.stretch(begin, std::min(encoder.count(), begin + block_symbols));
        for (std::size_t i = 0; i < stretch.symbols.size(); ++i) {
            const std::size_t context = stretch.contexts[i];
            if (context >= histograms.size()) histograms.resize(context + 1);
            histograms[context].add(stretch.symbols[i]);
        }
    }
    return histograms;
}

// Nothing is ever written that the reader refuses.
void check_readable(Bytes section, std::span<const DifferenceSource> tensors) {
    try {
        Vector<DifferenceShape> shapes;
        for (const DifferenceSource& tensor : tensors) shapes.push_back(tensor.matrix.shape);
        ByteReader reader(checked_bytes(SectionKind::differences, section), 0, "differences section");
        read_head_bytes(reader, section.size());
        static_cast<void>(
            read_differences(reader, section.size(), shapes, std::numeric_limits<std::uint64_t>::max(), 0));
    } catch (const Error& error) {
        throw Error(ErrorCode::invalid_argument, error.what());
    }
}

void check_tensors(std::span<const DifferenceSource> tensors) {
    const auto require = [](bool condition, const char* message) {
        if (!condition) throw Error(ErrorCode::invalid_argument, message);
    };
    for (const DifferenceSource& tensor : tensors) {
        const DifferenceMatrix& own = tensor.matrix;
        require(is_ordered(own.shape.dtype), "only float16, bfloat16, float32 and float64 have differences");
        require(own.rows.empty() || own.rows.size() == own.shape.matrix.rows, "rows must have one level each");
        require(own.columns.empty() || own.columns.size() == own.shape.matrix.columns,
                "columns must have one level each");
    }
}

}  // namespace

Vector<std::uint8_t> encode_differences(std::optional<std::size_t> base, unsigned detail,
                                        std::span<const DifferenceSource> tensors, std::size_t tables) {
    check_tensors(tensors);
    if (detail > most_detail) throw Error(ErrorCode::invalid_argument, "detail must be at most 3");
    ByteWriter head, payload;
    head.varint(base ? *base + 1 : 0);
    head.fixed(static_cast<std::uint8_t>(detail));
    write_heads(head, tensors);
    const Encoder encoder(detail, tensors, tables);
    const Vector<Histogram> histograms = histograms_of(encoder);
    Vector<EncodingTable> coding;
    std::uint64_t code = 0;
    head.varint(histograms.size());
    for (const Histogram& histogram : histograms) {
        const FrequencyTable table = make_table(histogram);
        write_table(head, table);
        coding.emplace_back(table);
        code += code_length(table, histogram);
    }
    const std::size_t lanes = lanes_for(encoder.count(), code);
    head.fixed(static_cast<std::uint8_t>(lanes));
    write_blocks(head, payload, encoder.count(), [&](std::size_t begin, std::size_t end) {
        Stretch stretch = encoder.stretch(begin, end);
        const EncodingRun run{coding.data(), stretch.contexts.data(), end - begin};
        const Vector<std::uint8_t> symbols = encode_block(stretch.symbols, {&run, 1}, lanes);
        ByteWriter block;
        block.fixed(static_cast<std::uint32_t>(symbols.size()));
        block.append(symbols);
        block.append(stretch.bits.finish());
        return std::move(block.bytes());
    });
    Vector<std::uint8_t> section = join_head(head, payload);
    check_readable(section, tensors);
    return section;
}

}  // namespace vaecomp::core
