#include <algorithm>
#include <functional>

#include "bindings/numpy.hpp"
#include "bindings/register.hpp"
#include "bindings/symbols.hpp"
#include "quantize/contexts.hpp"
#include "quantize/feedback.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;
using FloatArray = Contiguous<float>;

template <typename T>
std::size_t length(const Contiguous<T>& array, const char* name) {
    require(array.ndim() == 1, std::string(name) + " must be one-dimensional");
    return static_cast<std::size_t>(array.size());
}

// An order of columns, or none.
std::span<const std::uint32_t> order_of(const std::optional<Contiguous<std::uint32_t>>& order, std::size_t columns) {
    if (!order) return {};
    const std::span<const std::uint32_t> places = span_of(*order);
    std::vector<bool> there(columns);
    for (const std::uint32_t place : places) {
        if (place < columns) there[place] = true;
    }
    require(length(*order, "order") == columns && std::all_of(there.begin(), there.end(), std::identity()),
            "order must have a column for each column");
    return places;
}

std::pair<Contiguous<std::int16_t>, Contiguous<std::uint64_t>> quantize(
    const FloatArray& values, const std::optional<Contiguous<std::uint32_t>>& order,
    const std::optional<FloatArray>& feedback, const FloatArray& curvature, const FloatArray& row_weights,
    const FloatArray& row_scales, const FloatArray& column_scales, float rate_weight, const FloatArray& bits,
    std::int32_t first, const Contiguous<std::uint8_t>& row_tables, std::size_t threads) {
    require(values.ndim() == 2 && bits.ndim() == 2 && bits.size() > 0, "values and bits must be matrices");
    const auto rows = static_cast<std::size_t>(values.shape(0)), columns = static_cast<std::size_t>(values.shape(1));
    const auto tables = static_cast<std::size_t>(bits.shape(0)), symbols = static_cast<std::size_t>(bits.shape(1));
    require(length(row_weights, "row_weights") == rows && length(row_scales, "row_scales") == rows &&
                length(row_tables, "row_tables") == rows,
            "there must be a weight, a scale and a table for each row");
    require(length(curvature, "curvature") == columns && length(column_scales, "column_scales") == columns,
            "there must be a curvature and a scale for each column");
    require(!feedback || static_cast<std::size_t>(feedback->size()) == columns * columns,
            "feedback must be a square matrix with a row for each column");
    require(first <= 0 && first >= -32768 && first + static_cast<std::int64_t>(symbols) > 0 && symbols <= 32768,
            "bits must have an entry for symbol 0, and symbols must fit 16 bits");
    const std::span<const std::uint8_t> tables_of_rows = span_of(row_tables);
    require(std::all_of(tables_of_rows.begin(), tables_of_rows.end(), [&](std::uint8_t t) { return t < tables; }),
            "a row's table exceeds those of bits");
    Contiguous<std::int16_t> result({values.shape(0), values.shape(1)});
    Contiguous<std::uint64_t> counts({bits.shape(0), bits.shape(1)});
    const std::span<std::int16_t> out{result.mutable_data(), rows * columns};
    const std::span<std::uint64_t> counted{counts.mutable_data(), tables * symbols};
    const FeedbackProblem problem{span_of(values),
                                  rows,
                                  columns,
                                  order_of(order, columns),
                                  feedback ? span_of(*feedback) : std::span<const float>{},
                                  span_of(curvature),
                                  span_of(row_weights),
                                  span_of(row_scales),
                                  span_of(column_scales),
                                  rate_weight,
                                  {span_of(bits), tables, symbols, first, tables_of_rows}};
    {
        const py::gil_scoped_release release;
        feedback_quantize(problem, out, counted, threads);
    }
    return {result, counts};
}

float level_of(const FloatArray& values, const FloatArray& row_scales, const FloatArray& column_scales,
               std::size_t threads) {
    require(values.ndim() == 2 && static_cast<py::ssize_t>(length(row_scales, "row_scales")) == values.shape(0) &&
                static_cast<py::ssize_t>(length(column_scales, "column_scales")) == values.shape(1),
            "there must be a scale for each row and each column");
    const py::gil_scoped_release release;
    return largest_level(span_of(values), span_of(row_scales), span_of(column_scales), threads);
}

// The least and the greatest symbol, 0 among them, and the mean magnitude of the liveliest matrix.
py::tuple extent_of(const std::vector<py::array>& symbols) {
    SymbolExtent all;
    for (const py::array& array : symbols) {
        const SymbolExtent own = symbol_extent(symbols_of(array));
        all = {std::min(all.first, own.first), std::max(all.last, own.last), std::max(all.liveliest, own.liveliest)};
    }
    return py::make_tuple(all.first, all.last, all.liveliest);
}

py::object levels_or_none(const Vector<std::uint8_t>& levels) {
    if (levels.empty()) return py::none();
    return array_of(levels, {levels.size()});
}

// Gives a list of (level, row_levels, column_levels), the last two or None, for each matrix; about what its symbols
// take, in 1/256 bits; and the counts of each table's symbols.
py::tuple contexts(const std::vector<py::array>& symbols, const Contiguous<double>& frequencies, std::int32_t first,
                   std::size_t rounds, std::size_t threads) {
    require(frequencies.ndim() == 2 && frequencies.size() > 0 &&
                frequencies.shape(0) <= static_cast<py::ssize_t>(max_context_tables),
            "frequencies must be those of 1 to 16 tables");
    require(rounds > 0, "there must be a round");
    const ContextTables start{static_cast<std::size_t>(frequencies.shape(0)), first, span_of(frequencies)};
    Vector<ContextMatrix> matrices;
    for (const py::array& array : symbols) {
        matrices.push_back({matrix_shape_of(array), symbols_of(array)});
        const SymbolExtent extent = symbol_extent(matrices.back().symbols);
        require(extent.first >= first && extent.last < first + static_cast<std::int64_t>(start.symbols()),
                "a symbol has no frequency");
    }
    ContextFit fit;
    {
        const py::gil_scoped_release release;
        fit = fit_contexts(matrices, start, rounds, threads);
    }
    py::list levels;
    for (const ContextLevels& one : fit.levels) {
        levels.append(py::make_tuple(one.level, levels_or_none(one.rows), levels_or_none(one.columns)));
    }
    return py::make_tuple(levels, array_of(fit.costs, {fit.costs.size()}),
                          array_of(fit.counts, {start.tables, start.symbols()}));
}

}  // namespace

void register_quantize(py::module_& module) {
    module.def("feedback_quantize", &quantize, "values"_a, "order"_a, "feedback"_a, "curvature"_a, "row_weights"_a,
               "row_scales"_a, "column_scales"_a, "rate_weight"_a, "bits"_a, "first"_a, "row_tables"_a, "threads"_a);
    module.def("largest_level", &level_of, "values"_a, "row_scales"_a, "column_scales"_a, "threads"_a);
    module.def("symbol_extent", &extent_of, "symbols"_a);
    module.def("fit_contexts", &contexts, "symbols"_a, "frequencies"_a, "first"_a, "rounds"_a, "threads"_a);
}

}  // namespace vaecomp::core::bindings
