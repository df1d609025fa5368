#include "encode/differences.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/extent.hpp"
#include "encode/axes.hpp"
#include "encode/bit_writer.hpp"
#include "encode/bits_block.hpp"
#include "encode/head.hpp"
#include "encode/symbol_section.hpp"
#include "format/ordered.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {
namespace {

struct DifferenceStretch : Stretch {
    BitWriter bits;
};

class Encoder {
  public:
    Encoder(unsigned detail, std::span<const DifferenceSource> tensors, std::size_t tables)
        : detail_(detail), tensors_(tensors), last_(tables - 1) {
        for (const DifferenceSource& tensor : tensors) append_part(places_, tensor.matrix.shape.matrix.count());
    }

    [[nodiscard]] std::size_t count() const { return end_of(places_); }

    [[nodiscard]] DifferenceStretch stretch(std::size_t begin, std::size_t end) const {
        DifferenceStretch stretch;
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
    void add_differences(const DifferenceSource& tensor, std::size_t begin, std::size_t end,
                         DifferenceStretch& stretch) const {
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
    std::size_t last_;
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

void check_readable(Bytes section, std::span<const DifferenceSource> tensors) {
    Vector<DifferenceShape> shapes;
    for (const DifferenceSource& tensor : tensors) shapes.push_back(tensor.matrix.shape);
    check_readable(SectionKind::differences, "differences section", section, [&](ByteReader head) {
        static_cast<void>(read_differences(head, section.size(), shapes, std::numeric_limits<std::uint64_t>::max(), 0));
    });
}

void check_tensors(std::span<const DifferenceSource> tensors) {
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
    require(detail <= max_detail, "detail must be at most 3");
    ByteWriter head;
    Payload payload;
    write_base(head, base);
    head.fixed(static_cast<std::uint8_t>(detail));
    write_heads(head, tensors);
    const Encoder encoder(detail, tensors, tables);
    const SymbolTables coding(head, encoder.count(),
                              [&](std::size_t begin, std::size_t end) { return encoder.stretch(begin, end); });
    write_blocks(head, payload, encoder.count(), 0, [&](std::size_t begin, std::size_t end) {
        DifferenceStretch stretch = encoder.stretch(begin, end);
        Vector<std::uint8_t> block = before_bits(coding.encode(stretch));
        const Vector<std::uint8_t> bits = stretch.bits.finish();
        block.insert(block.end(), bits.begin(), bits.end());
        return block;
    });
    Vector<std::uint8_t> section = join_head(head, payload);
    check_readable(section, tensors);
    return section;
}

}  // namespace vaecomp::core
