#include "encode/split.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/parallel.hpp"
#include "encode/axes.hpp"
#include "encode/bits_block.hpp"
#include "encode/blocks.hpp"
#include "encode/histogram.hpp"
#include "format/ordered.hpp"
#include "format/split.hpp"
#include "quantize/contexts.hpp"

namespace vaecomp::core {
namespace {

// About as many items are looked at to choose how a tensor is split.
constexpr std::size_t sample_items = std::size_t{1} << 15;
constexpr std::size_t task_items = std::size_t{1} << 16;
// High bits of fewer than one item in so many escape, so that others keep their share of a table.
constexpr std::size_t rare = 2048;
constexpr std::size_t few_items = std::size_t{1} << 20, few_tables = 8, many_tables = 16, rounds = 6;

// The bits of the mantissa that are coded with the exponent: those that its distribution tells most of. float16 leaves
// a byte below them.
unsigned coded_mantissa_bits(DType dtype) { return dtype == DType::f16 || dtype == DType::c32 ? 3 : 2; }

double entropy_bits(std::span<const std::uint64_t> counts) {
    double total = 0, bits = 0;
    for (const std::uint64_t count : counts) total += static_cast<double>(count);
    for (const std::uint64_t count : counts) {
        if (count > 0) bits += static_cast<double>(count) * std::log2(total / static_cast<double>(count));
    }
    return bits;
}

template <typename Word>
class Splitter {
  public:
    explicit Splitter(const PlanesSource& tensor) : tensor_(tensor) {
        split_.shape = item_matrix(tensor.shape);
        split_.item_bits = 8 * sizeof(Word);
        split_.low = mantissa_bits(tensor.shape.dtype) + 1 - coded_mantissa_bits(tensor.shape.dtype);
    }

    bool write(ByteWriter& head, ByteWriter& payload) {
        take_sample();
        if (!choose_symbols()) return false;
        find_zeros();
        make_symbols();
        fit();
        if (bits() > plane_bits()) return false;
        write_head(head);
        write_all(head, payload);
        return true;
    }

  private:
    // The exponent at the top and the sign at the bottom.
    [[nodiscard]] Word turned(std::size_t item) const {
        Word word;
        std::memcpy(&word, tensor_.data + item * sizeof(Word), sizeof(Word));
        return std::rotl(word, 1);
    }
    [[nodiscard]] std::uint64_t high_of(Word word) const { return std::uint64_t{word} >> split_.low; }
    // Of what no other symbol stands for: the last one.
    [[nodiscard]] std::int64_t symbol_of(Word word) const {
        const std::uint64_t symbol = high_of(word) - split_.origin;  // wraps below the origin
        return static_cast<std::int64_t>(std::min<std::uint64_t>(symbol, static_cast<std::uint64_t>(split_.symbols)));
    }

    void take_sample() {
        const std::size_t rows = split_.shape.rows, columns = split_.shape.columns;
        const std::size_t stride = std::max<std::size_t>(1, split_.shape.count() / sample_items);
        if (rows > stride) {
            for (std::size_t i = 0; i < rows; i += stride) {
                for (std::size_t j = 0; j < columns; ++j) sample_.push_back(turned(i * columns + j));
                sample_rows_.push_back(sample_.size());
            }
        } else {
            for (std::size_t i = 0; i < split_.shape.count(); i += stride) sample_.push_back(turned(i));
            sample_rows_.push_back(sample_.size());
        }
    }

    // From the symbol below which few items lie to the greatest one. Says whether tables hold them.
    bool choose_symbols() {
        Vector<std::uint64_t> highs;
        highs.reserve(sample_.size());
        for (const Word word : sample_) highs.push_back(high_of(word));
        const std::size_t few = highs.size() / rare;
        std::nth_element(highs.begin(), highs.begin() + static_cast<std::ptrdiff_t>(few), highs.end());
        split_.origin = highs[few];
        const std::uint64_t greatest = *std::max_element(highs.begin(), highs.end());
        if (greatest - split_.origin >= max_split_symbols) return false;
        split_.symbols = static_cast<std::int32_t>(greatest - split_.origin + 1);
        return true;
    }

    // The bits that are 0 at the end of all mantissas of a row.
    void find_zeros() {
        const std::size_t rows = split_.shape.rows, columns = split_.shape.columns;
        Vector<std::int16_t> zeros(rows);
        std::atomic<std::uint64_t> saved{0};
        parallel_ranges(rows, std::max<std::size_t>(1, task_items / columns), 0,
                        [&](std::size_t begin, std::size_t end) {
                            for (std::size_t i = begin; i < end; ++i) {
                                Word all = 0;
                                for (std::size_t j = 0; j < columns; ++j) all |= turned(i * columns + j);
                                const int found = std::countr_zero(static_cast<Word>(all >> 1));
                                zeros[i] = static_cast<std::int16_t>(std::min(found, static_cast<int>(split_.low) - 1));
                                saved += static_cast<std::uint64_t>(zeros[i]) * columns;
                            }
                        });
        saved_bits_ = saved;
        // A few bits for each row say which.
        if (saved_bits_ < 4 * rows) {
            saved_bits_ = 0;
        } else {
            split_.axes[split_row_zeros] = std::move(zeros);
        }
    }

    void make_symbols() {
        symbols_.resize(split_.shape.count());
        parallel_ranges(symbols_.size(), task_items, 0, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                symbols_[i] = static_cast<std::int16_t>(symbol_of(turned(i)));
            }
        });
    }

    // Tables and levels: for few tables or one, whichever takes less.
    void fit() {
        const std::size_t width = static_cast<std::size_t>(split_.symbols) + 1;
        const std::size_t tables = sample_rows_.size() < few_tables ? 1
                                   : symbols_.size() < few_items    ? few_tables
                                                                    : many_tables;
        const Vector<double> start = starting_tables(tables, width);
        const ContextMatrix matrix{split_.shape, std::span<const std::int16_t>(symbols_)};
        ContextFit fit = fit_contexts({&matrix, 1}, {tables, 0, start}, tables > 1 ? rounds : 1, 0);
        Vector<std::uint64_t> all(width);
        double apart = 0;
        for (std::size_t t = 0; t < tables; ++t) {
            const auto own = std::span(fit.counts).subspan(t * width, width);
            apart += entropy_bits(own) + 8.0 * static_cast<double>(width);
            for (std::size_t s = 0; s < width; ++s) all[s] += own[s];
        }
        ContextLevels& levels = fit.levels[0];
        const Vector<std::int16_t> row_levels(levels.rows.begin(), levels.rows.end());
        const Vector<std::int16_t> column_levels(levels.columns.begin(), levels.columns.end());
        const Vector<std::int16_t>* const axes[] = {&row_levels, &column_levels};
        apart += 8.0 * static_cast<double>(encode_axes(axes).size());
        const double together = entropy_bits(all) + 8.0 * static_cast<double>(width);
        symbol_bits_ = std::min(apart, together);
        if (apart < together) {
            split_.level = levels.level;
            split_.axes[split_row_levels] = row_levels;
            split_.axes[split_column_levels] = column_levels;
            add_tables(fit.counts, width);
        } else {
            add_tables(all, width);
        }
    }

    // The distribution of symbols about the means of their rows, shifted to where rows may have theirs.
    [[nodiscard]] Vector<double> starting_tables(std::size_t tables, std::size_t width) const {
        const auto symbols = static_cast<std::int64_t>(width);
        Vector<double> around(2 * width + 1, 0.01);
        double mean = 0;
        std::size_t begin = 0;
        for (const std::size_t end : sample_rows_) {
            double sum = 0;
            for (std::size_t i = begin; i < end; ++i) sum += static_cast<double>(symbol_of(sample_[i]));
            mean += sum;
            const auto centre = std::llround(sum / static_cast<double>(std::max<std::size_t>(end - begin, 1)));
            for (; begin < end; ++begin)
                ++around[static_cast<std::size_t>(symbol_of(sample_[begin]) - centre + symbols)];
        }
        mean /= static_cast<double>(std::max<std::size_t>(sample_.size(), 1));
        const double octave = static_cast<double>(1u << coded_mantissa_bits(tensor_.shape.dtype));
        Vector<double> start;
        for (std::size_t t = 0; t < tables; ++t) {
            const double part = tables == 1 ? 0.0 : 2.0 * static_cast<double>(t) / static_cast<double>(tables - 1) - 1;
            const std::int64_t centre = std::llround(mean + octave * part);
            double total = 0;
            for (std::int64_t s = 0; s < symbols; ++s) {
                const std::int64_t at = std::clamp<std::int64_t>(s - centre + symbols, 0, 2 * symbols);
                start.push_back(around[static_cast<std::size_t>(at)]);
                total += start.back();
            }
            for (std::size_t s = 0; s < width; ++s) start[t * width + s] /= total;
        }
        return start;
    }

    void add_tables(std::span<const std::uint64_t> counts, std::size_t width) {
        for (std::size_t begin = 0; begin < counts.size(); begin += width) {
            Histogram histogram;
            for (std::size_t s = 0; s < width; ++s) {
                if (counts[begin + s] > 0) histogram.add(static_cast<std::int32_t>(s), counts[begin + s]);
            }
            split_.tables.push_back(make_table(histogram));
            code_ += code_length(split_.tables.back(), histogram);
        }
    }

    // About what the tensor takes.
    [[nodiscard]] double bits() const {
        const double lows = static_cast<double>(split_.low) * static_cast<double>(symbols_.size());
        return symbol_bits_ + lows - static_cast<double>(saved_bits_);
    }

    // About what its planes would take, from the sample.
    [[nodiscard]] double plane_bits() const {
        double total = 0;
        for (std::size_t plane = 0; plane < sizeof(Word); ++plane) {
            std::array<std::uint64_t, 256> counts{};
            for (const Word word : sample_) ++counts[static_cast<std::uint8_t>(word >> (8 * plane))];
            total += std::min(entropy_bits(counts), 8.0 * static_cast<double>(sample_.size()));
        }
        return total * static_cast<double>(symbols_.size()) / static_cast<double>(sample_.size());
    }

    void write_head(ByteWriter& head) {
        head.fixed(static_cast<std::uint8_t>(PlaneForm::split));
        head.fixed(static_cast<std::uint8_t>(split_.low));
        head.varint(split_.origin);
        head.varint(static_cast<std::uint64_t>(split_.symbols));
        unsigned flags = 0;
        Vector<const Vector<std::int16_t>*> axes;
        for (std::size_t axis = 0; axis < split_axis_count; ++axis) {
            flags |= unsigned{!split_.axes[axis].empty()} << axis;
            axes.push_back(&split_.axes[axis]);
        }
        head.fixed(static_cast<std::uint8_t>(flags));
        head.varint(split_.level);
        head.append(encode_axes(axes));
        head.varint(split_.tables.size());
        for (const FrequencyTable& table : split_.tables) write_table(head, table);
        lanes_ = std::min<std::size_t>(lanes_for(symbols_.size(), code_), 32);
        head.fixed(static_cast<std::uint8_t>(lanes_));
    }

    void write_all(ByteWriter& head, ByteWriter& payload) const {
        const Vector<EncodingTable> tables(split_.tables.begin(), split_.tables.end());
        write_blocks(head, payload, symbols_.size(),
                     [&](std::size_t begin, std::size_t end) { return block(tables, begin, end); });
    }

    [[nodiscard]] Vector<std::uint8_t> block(std::span<const EncodingTable> tables, std::size_t begin,
                                             std::size_t end) const {
        const Vector<std::int32_t> symbols(symbols_.begin() + static_cast<std::ptrdiff_t>(begin),
                                           symbols_.begin() + static_cast<std::ptrdiff_t>(end));
        Vector<std::uint8_t> contexts(symbols.size());
        if (tables.size() > 1) split_.contexts(begin, end, contexts.data());
        const EncodingRun run{tables.data(), contexts.data(), symbols.size()};
        return bits_block(encode_block(symbols, {&run, 1}, lanes_), bits_of(begin, end));
    }

    // Low bits of all items, then high bits of those that escape.
    [[nodiscard]] BitWriter bits_of(std::size_t begin, std::size_t end) const {
        const Word mask = static_cast<Word>((Word{1} << split_.low) - 1);
        BitWriter bits((end - begin) * split_.low / 8 + 1);
        Vector<Word> lows;
        for_each_row(split_.shape, begin, end, [&](std::size_t row, std::size_t, std::size_t length, std::size_t at) {
            const unsigned zeros = split_.zeros(row);
            lows.resize(length);
            for (std::size_t i = 0; i < length; ++i) {
                const Word low = turned(begin + at + i) & mask;
                lows[i] = static_cast<Word>(low >> 1 >> zeros << 1 | (low & 1));
            }
            bits.put_all(std::span<const Word>(lows), split_.low - zeros);
        });
        for (std::size_t i = begin; i < end; ++i) {
            if (symbols_[i] == split_.symbols) bits.put(high_of(turned(i)), split_.high_bits());
        }
        return bits;
    }

    const PlanesSource& tensor_;
    SplitTensor split_;
    std::size_t lanes_ = 1;
    std::uint64_t code_ = 0, saved_bits_ = 0;
    double symbol_bits_ = 0;
    Vector<Word> sample_;              // turned
    Vector<std::size_t> sample_rows_;  // where they end
    Vector<std::int16_t> symbols_;
};

}  // namespace

bool write_split(ByteWriter& head, ByteWriter& payload, const PlanesSource& tensor) {
    if (!is_rotated(tensor.shape) || is_small(tensor.shape)) return false;
    switch (tensor.shape.item_bytes()) {
        case 2: return Splitter<std::uint16_t>(tensor).write(head, payload);
        case 4: return Splitter<std::uint32_t>(tensor).write(head, payload);
        default: return Splitter<std::uint64_t>(tensor).write(head, payload);
    }
}

}  // namespace vaecomp::core
