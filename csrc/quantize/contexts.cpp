#include "quantize/contexts.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <numeric>

#include "core/logarithm.hpp"
#include "core/parallel.hpp"
#include "kernels/encoder_kernels.hpp"

namespace vaecomp::core {
namespace {

using Cost = std::uint16_t;  // in 1/256 bits
constexpr std::size_t lanes = cost_lanes;
static_assert(lanes == max_context_tables);
using Totals = std::array<std::uint64_t, lanes>;

// Levels of rows and columns would cost a smaller matrix more than they save.
constexpr std::size_t tiny = 1024;
// Elements that a task treats, those treated together, and how many costs a 32-bit sum holds.
constexpr std::size_t elements_a_task = std::size_t{1} << 18, together = 512, sum_elements = std::size_t{1} << 16;
// Weights are frequencies in units of 2^-20 of a symbol; a table keeps 2 % of a symbol from the turn before.
constexpr double unit = 1 << 20, kept = 0.02;

// What symbols cost under each table.
class Prices {
  public:
    explicit Prices(const ContextTables& start)
        : tables_(start.tables), symbols_(start.symbols()), weights_(tables_ * symbols_), costs_(weights_.size()) {
        for (std::size_t i = 0; i < weights_.size(); ++i) weights_[i] = weight(start.frequencies[i] * unit);
        price();
    }

    // The tables of the next turn.
    void renew(std::span<const std::uint64_t> counts) {
        for (std::size_t t = 0; t < tables_; ++t) {
            const auto before = std::span(weights_).subspan(t * symbols_, symbols_);
            const auto sum = static_cast<double>(std::accumulate(before.begin(), before.end(), std::uint64_t{0}));
            for (std::size_t s = 0; s < symbols_; ++s) {
                const double share = static_cast<double>(before[s]) / sum;
                before[s] = weight(static_cast<double>(counts[t * symbols_ + s]) + kept * share);
            }
        }
        price();
    }

    // The costs of symbols at each level of one axis. The entry is g * symbols + q - first for symbol q where the other
    // axis has level g.
    [[nodiscard]] const Cost* table() const { return by_level_.data(); }
    [[nodiscard]] std::size_t symbols() const { return symbols_; }
    [[nodiscard]] std::size_t tables() const { return tables_; }

  private:
    static std::uint64_t weight(double frequency) {
        return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(frequency * unit));
    }

    void price() {
        for (std::size_t t = 0; t < tables_; ++t) {
            const auto own = std::span(weights_).subspan(t * symbols_, symbols_);
            const std::uint32_t total = logarithm(std::accumulate(own.begin(), own.end(), std::uint64_t{0}));
            for (std::size_t s = 0; s < symbols_; ++s) {
                costs_[t * symbols_ + s] =
                    static_cast<Cost>(std::min<std::uint32_t>(total - logarithm(own[s]), 0xffff));
            }
        }
        by_level_.resize(tables_ * symbols_ * lanes);
        for (std::size_t g = 0; g < tables_; ++g) {
            for (std::size_t s = 0; s < symbols_; ++s) {
                Cost* out = by_level_.data() + (g * symbols_ + s) * lanes;
                for (std::size_t t = 0; t < tables_; ++t) {
                    out[t] = costs_[std::min(tables_ - 1, g + t) * symbols_ + s];
                }
            }
        }
    }

    std::size_t tables_, symbols_;
    Vector<std::uint64_t> weights_;
    Vector<Cost> costs_, by_level_;
};

// A matrix as it is fitted. A tiny one is a single row.
struct Fitted {
    Fitted(const ContextMatrix& matrix, const ContextSample& sample)
        : shape(matrix.shape.count() <= tiny ? MatrixShape{1, matrix.shape.count()} : matrix.shape),
          symbols(matrix.symbols),
          is_tiny(matrix.shape.count() <= tiny),
          stride(std::max<std::size_t>(
              1, std::min(matrix.shape.count() / sample.elements, matrix.shape.rows / sample.rows))),
          column_stride(std::max<std::size_t>(1, matrix.shape.columns / sample.columns)),
          rows(shape.rows, 0),
          columns(shape.columns, 0),
          row_costs(shape.rows, 0) {}

    MatrixShape shape;
    Symbols symbols;
    bool is_tiny;
    std::size_t stride;         // of the rows that are looked at
    std::size_t column_stride;  // of their elements by which their levels are chosen
    Vector<std::uint8_t> rows, columns;
    Vector<std::uint64_t> row_costs;       // of the symbols, at the levels chosen
    Totals row_prices{}, column_prices{};  // what levels themselves cost
};

// Rows, or columns, of one matrix.
struct Piece {
    std::size_t matrix, begin, end;
};
using Task = Vector<Piece>;

// Cuts the rows (or columns) of all matrices into pieces of at most `length` and 2^18 elements, and puts pieces into
// tasks of about as many.
Vector<Task> cut(std::span<const Fitted> matrices, bool by_column) {
    Vector<Task> tasks;
    std::size_t room = 0;
    for (std::size_t m = 0; m < matrices.size(); ++m) {
        const Fitted& one = matrices[m];
        if (one.shape.count() == 0 || (by_column && one.is_tiny)) continue;
        const std::size_t length = by_column ? one.shape.columns : one.shape.rows;
        const std::size_t across = one.shape.count() / length;
        const std::size_t most = std::clamp<std::size_t>(elements_a_task / across, 1, by_column ? together : length);
        for (std::size_t begin = 0; begin < length; begin += most) {
            const std::size_t end = std::min(length, begin + most), elements = (end - begin) * across;
            if (tasks.empty() || room < elements) {
                tasks.emplace_back();
                room = elements_a_task;
            }
            tasks.back().push_back({m, begin, end});
            room -= std::min(room, elements);
        }
    }
    return tasks;
}

// The cheapest level; the lowest of several.
std::uint8_t cheapest(const Totals& totals, const Totals& prices, std::size_t tables) {
    std::size_t best = 0;
    for (std::size_t t = 1; t < tables; ++t) {
        if (totals[t] + prices[t] < totals[best] + prices[best]) best = t;
    }
    return static_cast<std::uint8_t>(best);
}

class Fit {
  public:
    Fit(std::span<const ContextMatrix> matrices, const ContextTables& start, std::size_t threads,
        const ContextSample& sample)
        : prices_(start), first_(start.first), threads_(threads) {
        for (const ContextMatrix& matrix : matrices) matrices_.emplace_back(matrix, sample);
        row_tasks_ = cut(matrices_, false);
        column_tasks_ = cut(matrices_, true);
    }

    // From the levels that rows and columns have; without turns they stay.
    void start_from(std::span<const ContextLevels> levels) {
        for (std::size_t m = 0; m < levels.size(); ++m) {
            matrices_[m].rows = levels[m].rows;
            matrices_[m].columns = levels[m].columns;
        }
        has_levels_ = true;
    }

    ContextFit run(std::size_t rounds) {
        ContextFit result;
        if (rounds == 0) look_at_all_rows();
        if (has_levels_) result.counts = count();
        for (std::size_t round = 0; round < rounds; ++round) {
            if (!result.counts.empty()) {
                prices_.renew(result.counts);
                price_levels();
            }
            for_each(column_tasks_, [&](Fitted& one, const Piece& piece) { choose_columns(one, piece); });
            // Rows take over what all columns have in common, so that some rows can go below it.
            for (Fitted& one : matrices_) lower(one.columns);
            if (round + 1 == rounds) look_at_all_rows();
            for_each(row_tasks_, [&](Fitted& one, const Piece& piece) { choose_rows(one, piece); });
            result.counts = count();
        }
        for (Fitted& one : matrices_) {
            result.costs.push_back(std::accumulate(one.row_costs.begin(), one.row_costs.end(), std::uint64_t{0}));
            result.levels.push_back(compact(one));
        }
        return result;
    }

  private:
    template <typename Body>
    void for_each(const Vector<Task>& tasks, const Body& body) {
        parallel_for(tasks.size(), threads_, [&](std::size_t t) {
            for (const Piece& piece : tasks[t]) body(matrices_[piece.matrix], piece);
        });
    }

    void look_at_all_rows() {
        for (Fitted& one : matrices_) one.stride = 1;
    }

    // Rare levels cost more. That of a tiny matrix is free: it is in the file anyway.
    void price_levels() {
        for (Fitted& one : matrices_) {
            if (one.is_tiny) continue;
            one.row_prices = level_prices(one.rows, one.stride);
            one.column_prices = level_prices(one.columns, 1);
        }
    }

    [[nodiscard]] Totals level_prices(std::span<const std::uint8_t> levels, std::size_t stride) const {
        Totals halves{};
        for (std::size_t t = 0; t < prices_.tables(); ++t) halves[t] = 1;
        for (std::size_t i = 0; i < levels.size(); i += stride) halves[levels[i]] += 2;
        const std::uint32_t total = logarithm(std::accumulate(halves.begin(), halves.end(), std::uint64_t{0}));
        for (std::size_t t = 0; t < prices_.tables(); ++t) halves[t] = total - logarithm(halves[t]);
        return halves;
    }

    void choose_rows(Fitted& one, const Piece& piece) const {
        std::visit([&](auto symbols) { choose_rows_of(one, symbols, piece); }, one.symbols);
    }

    template <typename Symbol>
    void choose_rows_of(Fitted& one, std::span<const Symbol> symbols, const Piece& piece) const {
        const std::size_t columns = one.shape.columns;
        Vector<std::int32_t> zeros(columns);
        for (std::size_t j = 0; j < columns; ++j) zeros[j] = zero_of(one.columns[j]);
        std::array<std::uint32_t, together> entries;
        for (std::size_t i = first_row(one, piece); i < piece.end; i += one.stride) {
            Totals totals{};
            const Symbol* row = symbols.data() + i * columns;
            for (std::size_t begin = 0; begin < columns; begin += together * one.column_stride) {
                std::size_t count = 0;
                for (std::size_t j = begin; j < columns && count < together; j += one.column_stride) {
                    entries[count++] = static_cast<std::uint32_t>(zeros[j] + row[j]);
                }
                std::uint32_t sums[lanes] = {};
                encoder_kernels().add_costs(prices_.table(), entries.data(), count, sums);
                for (std::size_t t = 0; t < lanes; ++t) totals[t] += sums[t] * one.column_stride;
            }
            one.rows[i] = cheapest(totals, one.row_prices, prices_.tables());
            one.row_costs[i] = totals[one.rows[i]];
        }
    }

    void choose_columns(Fitted& one, const Piece& piece) const {
        std::visit([&](auto symbols) { choose_columns_of(one, symbols, piece); }, one.symbols);
    }

    template <typename Symbol>
    void choose_columns_of(Fitted& one, std::span<const Symbol> symbols, const Piece& piece) const {
        const std::size_t count = piece.end - piece.begin;
        Vector<Totals> totals(count, Totals{});
        Vector<std::uint32_t> sums(count * lanes);
        std::array<std::uint32_t, together> entries;
        const std::size_t rows_a_sum = sum_elements * one.stride;
        for (std::size_t begin = 0; begin < one.shape.rows; begin += rows_a_sum) {
            std::fill(sums.begin(), sums.end(), 0);
            for (std::size_t i = begin; i < std::min(one.shape.rows, begin + rows_a_sum); i += one.stride) {
                const std::int32_t zero = zero_of(one.rows[i]);
                const Symbol* row = symbols.data() + i * one.shape.columns + piece.begin;
                for (std::size_t j = 0; j < count; ++j) entries[j] = static_cast<std::uint32_t>(zero + row[j]);
                encoder_kernels().add_costs_apart(prices_.table(), entries.data(), count, sums.data());
            }
            for (std::size_t j = 0; j < count; ++j) {
                for (std::size_t t = 0; t < lanes; ++t) totals[j][t] += sums[j * lanes + t];
            }
        }
        for (std::size_t j = 0; j < count; ++j) {
            one.columns[piece.begin + j] = cheapest(totals[j], one.column_prices, prices_.tables());
        }
    }

    // The first row of a piece that is looked at.
    static std::size_t first_row(const Fitted& one, const Piece& piece) {
        return (piece.begin + one.stride - 1) / one.stride * one.stride;
    }

    // The entry of symbol 0 where the other axis has this level.
    [[nodiscard]] std::int32_t zero_of(std::size_t level) const {
        return static_cast<std::int32_t>(level * prices_.symbols()) - first_;
    }

    [[nodiscard]] Vector<std::uint64_t> count() const {
        const std::size_t last = prices_.tables() - 1;
        Vector<std::uint64_t> counts(prices_.tables() * prices_.symbols());
        // The counter of symbol 0 by the sum of the levels of a row and of a column.
        std::array<std::uint32_t, 2 * lanes> zeros;
        for (std::size_t sum = 0; sum < zeros.size(); ++sum) {
            zeros[sum] = static_cast<std::uint32_t>(zero_of(std::min(last, sum)));
        }
        std::mutex mutex;
        parallel_for(row_tasks_.size(), threads_, [&](std::size_t t) {
            // Four times, by turns: a counter that has just been raised would have to be waited for.
            Vector<std::uint32_t> own(4 * counts.size());
            for (const Piece& piece : row_tasks_[t]) {
                const Fitted& one = matrices_[piece.matrix];
                std::visit([&](auto all) { count_in(one, all, piece, zeros, own); }, one.symbols);
            }
            const std::lock_guard lock(mutex);
            for (std::size_t i = 0; i < own.size(); ++i) counts[i % counts.size()] += own[i];
        });
        return counts;
    }

    template <typename Symbol>
    void count_in(const Fitted& one, std::span<const Symbol> all, const Piece& piece,
                  std::span<const std::uint32_t> zeros, std::span<std::uint32_t> counts) const {
        const std::uint8_t* const columns = one.columns.data();
        const std::size_t quarter = counts.size() / 4, count = one.shape.columns;
        std::uint32_t *const a = counts.data(), *const b = a + quarter, *const c = b + quarter, *const d = c + quarter;
        for (std::size_t i = first_row(one, piece); i < piece.end; i += one.stride) {
            const Symbol* const row = all.data() + i * count;
            const std::uint32_t* const own = zeros.data() + one.rows[i];
            const auto at = [&](std::size_t j) { return own[columns[j]] + static_cast<std::uint32_t>(row[j]); };
            std::size_t j = 0;
            for (; j + 4 <= count; j += 4) {
                const std::uint32_t first = at(j), second = at(j + 1), third = at(j + 2), fourth = at(j + 3);
                ++a[first];
                ++b[second];
                ++c[third];
                ++d[fourth];
            }
            for (; j < count; ++j) ++a[at(j)];
        }
    }

    // Brings the lowest level to 0. Returns what it was.
    static std::uint8_t lower(Vector<std::uint8_t>& levels) {
        if (levels.empty()) return 0;
        const std::uint8_t lowest = *std::min_element(levels.begin(), levels.end());
        for (std::uint8_t& level : levels) level = static_cast<std::uint8_t>(level - lowest);
        return lowest;
    }

    // The base level is what all rows and all columns have in common.
    static ContextLevels compact(Fitted& one) {
        if (one.shape.count() == 0) return {};
        ContextLevels levels;
        levels.level = static_cast<std::uint8_t>(lower(one.rows) + lower(one.columns));
        const auto is_raised = [](std::uint8_t level) { return level != 0; };
        if (std::any_of(one.rows.begin(), one.rows.end(), is_raised)) levels.rows = std::move(one.rows);
        if (std::any_of(one.columns.begin(), one.columns.end(), is_raised)) levels.columns = std::move(one.columns);
        return levels;
    }

    Prices prices_;
    std::int32_t first_;
    std::size_t threads_;
    bool has_levels_ = false;
    Vector<Fitted> matrices_;
    Vector<Task> row_tasks_, column_tasks_;
};

}  // namespace

ContextFit fit_contexts(std::span<const ContextMatrix> matrices, const ContextTables& start, std::size_t rounds,
                        std::size_t threads, const ContextSample& sample, std::span<const ContextLevels> levels) {
    Fit fit(matrices, start, threads, sample);
    if (!levels.empty()) fit.start_from(levels);
    return fit.run(rounds);
}

}  // namespace vaecomp::core
