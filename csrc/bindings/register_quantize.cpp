#include <algorithm>

#include "bindings/numpy.hpp"
#include "bindings/register.hpp"
#include "quantize/feedback.hpp"
#include "quantize/histograms.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;
using FloatArray = Contiguous<float>;
using SymbolArray = Contiguous<std::int32_t>;
using LevelArray = Contiguous<std::uint8_t>;

template <typename T>
std::size_t length(const Contiguous<T>& array, const char* name) {
    require(array.ndim() == 1, std::string(name) + " must be one-dimensional");
    return static_cast<std::size_t>(array.size());
}

SymbolArray quantize(const FloatArray& values, const std::optional<FloatArray>& feedback, const FloatArray& curvature,
                     const FloatArray& row_weights, const FloatArray& row_scales, const FloatArray& column_scales,
                     float rate_weight, const FloatArray& bits, std::int32_t first, const LevelArray& row_levels,
                     const LevelArray& column_levels, std::size_t threads) {
    require(values.ndim() == 2 && bits.ndim() == 2 && bits.size() > 0, "values and bits must be matrices");
    const auto rows = static_cast<std::size_t>(values.shape(0)), columns = static_cast<std::size_t>(values.shape(1));
    require(length(row_weights, "row_weights") == rows && length(row_scales, "row_scales") == rows &&
                length(row_levels, "row_levels") == rows,
            "there must be a weight, a scale and a level for each row");
    require(length(curvature, "curvature") == columns && length(column_scales, "column_scales") == columns &&
                length(column_levels, "column_levels") == columns,
            "there must be a curvature, a scale and a level for each column");
    require(!feedback || static_cast<std::size_t>(feedback->size()) == columns * columns,
            "feedback must be a square matrix with a row for each column");
    const auto symbols = static_cast<std::size_t>(bits.shape(1));
    require(first <= 0 && first + static_cast<std::int64_t>(symbols) > 0, "bits must have an entry for symbol 0");
    SymbolArray result({values.shape(0), values.shape(1)});
    const std::span<std::int32_t> out{result.mutable_data(), rows * columns};
    const FeedbackProblem problem{span_of(values),
                                  rows,
                                  columns,
                                  feedback ? span_of(*feedback) : std::span<const float>{},
                                  span_of(curvature),
                                  span_of(row_weights),
                                  span_of(row_scales),
                                  span_of(column_scales),
                                  rate_weight,
                                  {span_of(bits), static_cast<std::size_t>(bits.shape(0)), symbols, first,
                                   span_of(row_levels), span_of(column_levels)}};
    const py::gil_scoped_release release;
    feedback_quantize(problem, out, threads);
    return result;
}

Contiguous<std::uint32_t> histograms(const SymbolArray& symbols, const LevelArray& groups, bool by_column,
                                     std::size_t group_count, std::int32_t first, std::size_t symbol_count) {
    require(symbols.ndim() == 2, "symbols must be a matrix");
    const std::span<const std::int32_t> values = span_of(symbols);
    const std::span<const std::uint8_t> ids = span_of(groups);
    require(ids.size() == static_cast<std::size_t>(symbols.shape(by_column ? 0 : 1)),
            "there must be a group for each index of the other axis");
    require(std::all_of(ids.begin(), ids.end(), [&](std::uint8_t id) { return id < group_count; }),
            "a group exceeds group_count");
    require(std::all_of(values.begin(), values.end(),
                        [&](std::int32_t value) {
                            return value >= first && value < first + static_cast<std::int64_t>(symbol_count);
                        }),
            "a symbol is outside the histogram");
    Contiguous<std::uint32_t> counts({symbols.shape(by_column ? 1 : 0), static_cast<py::ssize_t>(group_count),
                                      static_cast<py::ssize_t>(symbol_count)});
    const std::span<std::uint32_t> out{counts.mutable_data(), static_cast<std::size_t>(counts.size())};
    std::fill(out.begin(), out.end(), 0);
    const HistogramShape shape{static_cast<std::size_t>(symbols.shape(0)),
                               static_cast<std::size_t>(symbols.shape(1)),
                               by_column,
                               group_count,
                               first,
                               symbol_count};
    const py::gil_scoped_release release;
    symbol_histograms(shape, values, ids, out);
    return counts;
}

}  // namespace

void register_quantize(py::module_& module) {
    module.def("feedback_quantize", &quantize, "values"_a, "feedback"_a, "curvature"_a, "row_weights"_a, "row_scales"_a,
               "column_scales"_a, "rate_weight"_a, "bits"_a, "first"_a, "row_levels"_a, "column_levels"_a, "threads"_a);
    module.def("symbol_histograms", &histograms, "symbols"_a, "groups"_a, "by_column"_a, "group_count"_a, "first"_a,
               "symbol_count"_a);
}

}  // namespace vaecomp::core::bindings
