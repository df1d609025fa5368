#include "encode/split.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numeric>

#include "core/parallel.hpp"
#include "encode/axes.hpp"
#include "encode/bit_writer.hpp"
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
// Escapes are rare: it is first found out whether there is any among so many items.
constexpr std::size_t looked_at = 64;
// Sums of the levels of a row and of a column.
constexpr std::size_t max_levels = 2 * 255 + 1;
constexpr std::size_t few_items = std::size_t{1} << 20, few_tables = 8, many_tables = 16;
// Rows and columns of a large tensor are told apart by what its tables cost them, too: the shapes of their
// distributions may differ. This many elements say so of a row.
constexpr ContextSample sample_of_large{.columns = 256};
// Rows and columns whose means differ from that of all by more standard deviations are as if it were so many.
constexpr double most_deviations = 4;

// The bits of the mantissa that are coded with the exponent: those that its distribution tells most of. float16 leaves
// a byte below them.
unsigned coded_mantissa_bits(DType dtype) { return dtype == DType::f16 || dtype == DType::c32 ? 3 : 2; }

constexpr std::int16_t greater(std::int16_t a, std::int16_t b) { return std::max(a, b); }

double entropy_bits(std::span<const std::uint64_t> counts) {
    double total = 0, bits = 0;
    for (const std::uint64_t count : counts) total += static_cast<double>(count);
    for (const std::uint64_t count : counts) {
        if (count > 0) bits += static_cast<double>(count) * std::log2(total / static_cast<double>(count));
    }
    return bits;
}

// The differences of means from the mean of all.
struct Means {
    // Of the symbols of rows or columns of `count` items.
    Means(std::span<const std::int64_t> sums, std::size_t count) {
        for (const std::int64_t sum : sums) differences.push_back(static_cast<double>(sum));
        const auto all = static_cast<double>(sums.size());
        const double mean = std::accumulate(differences.begin(), differences.end(), 0.0) / all;
        double squares = 0;
        for (double& difference : differences) {
            difference = (difference - mean) / static_cast<double>(count);
            squares += difference * difference;
        }
        deviation = std::sqrt(squares / all);
    }

    [[nodiscard]] double least() const { return *std::min_element(differences.begin(), differences.end()); }
    [[nodiscard]] double greatest() const { return *std::max_element(differences.begin(), differences.end()); }

    Vector<double> differences;
    double deviation;
};

// Four items of 16 bits side by side, the first one lowest.
namespace fours {

constexpr std::uint64_t each = 0x0001000100010001;

inline std::uint64_t load(const std::uint8_t* items) {
    std::array<std::uint16_t, 4> words;
    std::memcpy(words.data(), items, sizeof(words));
    return words[0] | std::uint64_t{words[1]} << 16 | std::uint64_t{words[2]} << 32 | std::uint64_t{words[3]} << 48;
}

// Their `bits` lowest bits without gaps. The others are 0.
inline std::uint64_t together(std::uint64_t four, unsigned bits) {
    const std::uint64_t two = (four & 0x0000ffff0000ffff) | (four >> 16 & 0x0000ffff0000ffff) << bits;
    return (two & 0xffffffff) | two >> 32 << 2 * bits;
}

}  // namespace fours

template <typename Word>
class Splitter {
  public:
    Splitter(const PlanesSource& tensor, std::size_t threads) : tensor_(tensor), threads_(threads) {
        split_.shape = item_matrix(tensor.shape);
        split_.item_bits = 8 * sizeof(Word);
        split_.low = mantissa_bits(tensor.shape.dtype) + 1 - coded_mantissa_bits(tensor.shape.dtype);
        tables_ = split_.shape.rows < few_tables ? 1 : split_.shape.count() < few_items ? few_tables : many_tables;
    }

    bool write(EncodedTensor& encoded) {
        take_sample();
        if (!choose_symbols()) return false;
        make_symbols();
        fit();
        if (bits() > plane_bits()) return false;
        write_head(encoded.head);
        write_all(encoded);
        return true;
    }

  private:
    // The exponent at the top and the sign at the bottom.
    [[nodiscard]] Word turned(std::size_t item) const {
        Word word;
        std::memcpy(&word, tensor_.data + item * sizeof(Word), sizeof(Word));
        return std::rotl(word, 1);
    }
    [[nodiscard]] Word high_of(Word word) const { return static_cast<Word>(word >> split_.low); }
    // Of what no other symbol stands for: the last one. Highs below the origin wrap to what exceeds them all.
    [[nodiscard]] Word symbol_of(Word word) const {
        return std::min(static_cast<Word>(high_of(word) - static_cast<Word>(split_.origin)),
                        static_cast<Word>(split_.symbols));
    }

    void take_sample() {
        const std::size_t rows = split_.shape.rows, columns = split_.shape.columns;
        const std::size_t stride = std::max<std::size_t>(1, split_.shape.count() / sample_items);
        sample_.reserve(split_.shape.count() / stride + columns);
        if (rows > stride) {
            for (std::size_t i = 0; i < rows; i += stride) {
                for (std::size_t j = 0; j < columns; ++j) sample_.push_back(turned(i * columns + j));
            }
        } else {
            for (std::size_t i = 0; i < split_.shape.count(); i += stride) sample_.push_back(turned(i));
        }
    }

    // From the symbol below which few items lie to the greatest one. Says whether tables hold them.
    bool choose_symbols() {
        Vector<Word> highs(sample_.size());
        std::transform(sample_.begin(), sample_.end(), highs.begin(), [&](Word word) { return high_of(word); });
        const std::size_t few = highs.size() / rare;
        std::nth_element(highs.begin(), highs.begin() + static_cast<std::ptrdiff_t>(few), highs.end());
        split_.origin = highs[few];
        const std::uint64_t greatest = *std::max_element(highs.begin(), highs.end());
        if (greatest - split_.origin >= max_split_symbols) return false;
        split_.symbols = static_cast<std::int32_t>(greatest - split_.origin + 1);
        return true;
    }

    // And the bits that are 0 at the end of all mantissas of a row.
    void make_symbols() {
        const std::size_t rows = split_.shape.rows, columns = split_.shape.columns;
        symbols_.resize(split_.shape.count());
        row_sums_.resize(rows);
        column_sums_.resize(tables_ == 1 ? 0 : columns);
        std::mutex mutex;
        Vector<std::int16_t> zeros(rows);
        std::atomic<std::uint64_t> saved{0};
        parallel_ranges(rows, std::max<std::size_t>(1, task_items / columns), threads_,
                        [&](std::size_t begin, std::size_t end) {
                            std::uint64_t own = 0;
                            Vector<std::int32_t> column_sums(column_sums_.size());
                            for (std::size_t i = begin; i < end; ++i) {
                                const Word any = make_symbols_of(i, column_sums);
                                const int found = std::countr_zero(static_cast<Word>(any >> 1));
                                zeros[i] = static_cast<std::int16_t>(std::min(found, static_cast<int>(split_.low) - 1));
                                own += static_cast<std::uint64_t>(zeros[i]) * columns;
                            }
                            saved += own;
                            const std::lock_guard lock(mutex);
                            for (std::size_t j = 0; j < column_sums.size(); ++j) column_sums_[j] += column_sums[j];
                        });
        saved_bits_ = saved;
        // A few bits for each row say which.
        if (saved_bits_ < 4 * rows) {
            saved_bits_ = 0;
        } else {
            split_.axes[split_row_zeros] = std::move(zeros);
        }
    }

    // Returns the bits that any item of the row has.
    Word make_symbols_of(std::size_t row, Vector<std::int32_t>& column_sums) {
        const std::size_t columns = split_.shape.columns;
        std::int16_t* const symbols = symbols_.data() + row * columns;
        Word any = 0;
        for (std::size_t j = 0; j < columns; ++j) {
            const Word word = turned(row * columns + j);
            any |= word;
            symbols[j] = static_cast<std::int16_t>(symbol_of(word));
        }
        if (tables_ == 1) return any;
        for (std::size_t begin = 0; begin < columns; begin += piece_symbols) {
            std::int32_t sum = 0;
            for (std::size_t j = begin; j < std::min(columns, begin + piece_symbols); ++j) sum += symbols[j];
            row_sums_[row] += sum;
        }
        for (std::size_t j = 0; j < columns; ++j) column_sums[j] += symbols[j];
        return any;
    }

    // Levels for each row and column by the mean of its symbols, as if these had one distribution that is shifted.
    [[nodiscard]] ContextLevels starting_levels() const {
        if (tables_ == 1) {
            return {0, Vector<std::uint8_t>(split_.shape.rows), Vector<std::uint8_t>(split_.shape.columns)};
        }
        const Means rows(row_sums_, split_.shape.columns), columns(column_sums_, split_.shape.rows);
        const auto last = static_cast<double>(tables_ - 1);
        // Of the sums of a row's and a column's differences from the mean of all.
        const double deviations = most_deviations * std::hypot(rows.deviation, columns.deviation);
        const double low = std::max(rows.least() + columns.least(), -deviations);
        const double high = std::min(rows.greatest() + columns.greatest(), deviations);
        const double spacing = std::max((high - low) / last, 1e-3);
        const double lowest = std::max(columns.least(), -most_deviations * columns.deviation);
        const auto level = [&](double above) {
            return static_cast<std::uint8_t>(std::lround(std::clamp(above / spacing, 0.0, last)));
        };
        ContextLevels levels;
        for (const double own : rows.differences) levels.rows.push_back(level(own + lowest - low));
        for (const double own : columns.differences) levels.columns.push_back(level(own - lowest));
        return levels;
    }

    // Tables and levels: for few tables or one, whichever takes less.
    void fit() {
        const std::size_t width = static_cast<std::size_t>(split_.symbols) + 1;
        const Vector<double> flat(tables_ * width, 1.0 / static_cast<double>(width));
        const ContextMatrix matrix{split_.shape, std::span<const std::int16_t>(symbols_)};
        const ContextLevels start = starting_levels();
        const std::size_t turns = tables_ == many_tables ? 1 : 0;
        ContextFit fit = fit_contexts({&matrix, 1}, {tables_, 0, flat}, turns, threads_, sample_of_large, {&start, 1});
        Vector<std::uint64_t> all(width);
        double apart = 0;
        for (std::size_t t = 0; t < tables_; ++t) {
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

    void write_all(EncodedTensor& encoded) const {
        const EncodingTables tables(split_.tables);
        // The entry of symbol 0 by the sum of the levels of a row and of a column.
        std::array<std::uint32_t, max_levels> zeros;
        for (std::size_t sum = 0; sum < max_levels; ++sum) {
            zeros[sum] = tables.entry(std::min(split_.level + sum, split_.tables.size() - 1), 0);
        }
        write_blocks(encoded.head, encoded.payload, symbols_.size(), threads_,
                     [&](std::size_t begin, std::size_t end) { return block(tables, zeros, begin, end); });
    }

    [[nodiscard]] Vector<std::uint8_t> block(const EncodingTables& tables, std::span<const std::uint32_t> zeros,
                                             std::size_t begin, std::size_t end) const {
        BlockWriter writer(end - begin, lanes_);
        std::array<std::uint32_t, piece_symbols> buffer;
        for (std::size_t left = end - begin, count = 0; left > 0; left -= count) {
            count = std::min(left, piece_symbols);
            const auto entries = std::span(buffer).first(count);
            find_entries(zeros, begin + left - count, entries);
            writer.put(tables, entries);
        }
        BitWriter bits(before_bits(writer), (end - begin) * split_.low / 8);
        put_bits(bits, begin, end);
        return bits.finish();
    }

    // Of the symbols from `begin` on.
    void find_entries(std::span<const std::uint32_t> zeros, std::size_t begin, std::span<std::uint32_t> entries) const {
        const Vector<std::int16_t>&rows = split_.axes[split_row_levels], &columns = split_.axes[split_column_levels];
        for_each_row(split_.shape, begin, begin + entries.size(),
                     [&](std::size_t row, std::size_t column, std::size_t length, std::size_t at) {
                         const std::uint32_t* const own = zeros.data() + (rows.empty() ? 0 : rows[row]);
                         const std::int16_t* const symbols = symbols_.data() + begin + at;
                         std::uint32_t* const out = entries.data() + at;
                         if (columns.empty()) {
                             for (std::size_t j = 0; j < length; ++j)
                                 out[j] = own[0] + static_cast<std::uint32_t>(symbols[j]);
                             return;
                         }
                         const std::int16_t* const levels = columns.data() + column;
                         for (std::size_t j = 0; j < length; ++j) {
                             out[j] = own[levels[j]] + static_cast<std::uint32_t>(symbols[j]);
                         }
                     });
    }

    // Low bits of all items, then high bits of those that escape.
    void put_bits(BitWriter& bits, std::size_t begin, std::size_t end) const {
        for_each_row(split_.shape, begin, end, [&](std::size_t row, std::size_t, std::size_t length, std::size_t at) {
            put_lows(bits, begin + at, begin + at + length, split_.zeros(row));
        });
        for (std::size_t from = begin; from < end; from += looked_at) {
            const auto own = std::span(symbols_).subspan(from, std::min(looked_at, end - from));
            // The greatest of all symbols.
            if (std::accumulate(own.begin(), own.end(), std::int16_t{0}, greater) != split_.symbols) continue;
            for (std::size_t i = 0; i < own.size(); ++i) {
                if (own[i] == split_.symbols) bits.put(high_of(turned(from + i)), split_.high_bits());
            }
        }
    }

    // Of items of one row. The sign is the lowest bit; zeros stand above it.
    void put_lows(BitWriter& bits, std::size_t begin, std::size_t end, unsigned zeros) const {
        const unsigned low = split_.low, width = low - zeros;
        if constexpr (sizeof(Word) == 2) {
            const std::uint64_t mantissa = fours::each * ((1u << (low - 1)) - 1);
            const std::uint8_t* data = tensor_.data + begin * sizeof(Word);
            const auto four = [&](const std::uint8_t* items) {
                const std::uint64_t own = fours::load(items);
                return fours::together((own & mantissa) >> zeros << 1 | (own >> 15 & fours::each), width);
            };
            for (; begin + 8 <= end; begin += 8, data += 16) {
                if (8 * width <= BitWriter::most) {
                    bits.put(four(data) | four(data + 8) << 4 * width, 8 * width);
                } else {
                    bits.put(four(data), 4 * width);
                    bits.put(four(data + 8), 4 * width);
                }
            }
        }
        const Word mask = static_cast<Word>((Word{1} << low) - 1);
        const auto one = [&](std::size_t item) {
            const Word own = turned(item) & mask;
            return static_cast<std::uint64_t>(own >> 1 >> zeros << 1 | (own & 1));
        };
        for (; 2 * width <= BitWriter::most && begin + 2 <= end; begin += 2) {
            bits.put(one(begin) | one(begin + 1) << width, 2 * width);
        }
        for (; begin < end; ++begin) bits.put(one(begin), width);
    }

    const PlanesSource& tensor_;
    std::size_t threads_;
    SplitTensor split_;
    std::size_t tables_, lanes_ = 1;
    std::uint64_t code_ = 0, saved_bits_ = 0;
    double symbol_bits_ = 0;
    Vector<Word> sample_;  // turned
    Vector<std::int16_t> symbols_;
    Vector<std::int64_t> row_sums_, column_sums_;  // of symbols
};

}  // namespace

bool write_split(EncodedTensor& encoded, const PlanesSource& tensor, std::size_t threads) {
    if (!is_rotated(tensor.shape) || is_small(tensor.shape)) return false;
    switch (tensor.shape.item_bytes()) {
        case 2: return Splitter<std::uint16_t>(tensor, threads).write(encoded);
        case 4: return Splitter<std::uint32_t>(tensor, threads).write(encoded);
        default: return Splitter<std::uint64_t>(tensor, threads).write(encoded);
    }
}

}  // namespace vaecomp::core
