// Context levels: which of a few shared frequency tables codes a symbol (docs/quantization.md, Context levels).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "core/containers.hpp"
#include "format/matrix_shape.hpp"
#include "quantize/symbols.hpp"

namespace vaecomp::core {

struct ContextMatrix {
    MatrixShape shape;
    Symbols symbols;
};

// The table of element (i, j) is level + rows[i] + columns[j], or the last one beyond it. Empty stands for zeros.
struct ContextLevels {
    std::uint8_t level = 0;
    Vector<std::uint8_t> rows, columns;
};

// Frequencies of symbols first, first + 1, ... under each table, one table behind another.
struct ContextTables {
    std::size_t tables;
    std::int32_t first;
    std::span<const double> frequencies;

    [[nodiscard]] std::size_t symbols() const { return frequencies.size() / tables; }
};

inline constexpr std::size_t max_context_tables = 16;

struct ContextFit {
    Vector<ContextLevels> levels;  // of each matrix
    Vector<std::uint64_t> costs;   // about what each matrix' symbols take, in 1/256 bits
    Vector<std::uint64_t> counts;  // how often each table codes each symbol, laid out as the frequencies
};

// All turns but the last one look at some rows of a larger matrix: about so many elements, and at least so many rows. A
// row's level is chosen by at least so many of its elements, if it has them.
struct ContextSample {
    std::size_t elements = std::size_t{1} << 16, rows = 128;
    std::size_t columns = std::numeric_limits<std::size_t>::max();
};

// Levels and tables are fitted by turns, as in k-means, from the given tables on. All symbols have a frequency in them.
// Only the last turn looks at all rows of a large matrix. The first turn's tables may come from levels of all rows and
// columns, instead of frequencies; then there may be no turn at all.
ContextFit fit_contexts(std::span<const ContextMatrix> matrices, const ContextTables& start, std::size_t rounds,
                        std::size_t threads, const ContextSample& sample = {},
                        std::span<const ContextLevels> levels = {});

}  // namespace vaecomp::core
