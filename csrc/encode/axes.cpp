#include "encode/axes.hpp"

#include "encode/histogram.hpp"
#include "encode/symbols.hpp"
#include "entropy/symbol_stream.hpp"

namespace vaecomp::core {
namespace {

// What a segment of these symbols takes, in 1/256 of a bit.
std::uint64_t segment_length(const Histogram& histogram) {
    const FrequencyTable table = make_table(histogram);
    ByteWriter writer;
    write_table(writer, table);
    return code_length(table, histogram) + 8 * 256 * writer.size();
}

// Where to change tables. Neighbouring arrays share a table if that is not larger, or if there are too many.
Vector<std::size_t> axes_segments(std::span<const Vector<std::int16_t>* const> arrays) {
    Vector<std::size_t> segments;
    Histogram last;
    for (const Vector<std::int16_t>* array : arrays) {
        if (array->empty()) continue;
        Histogram next, both = last;
        for (const std::int16_t value : *array) next.add(value);
        both.add(next);
        const bool merge =
            segments.size() == max_segments || segment_length(both) <= segment_length(last) + segment_length(next);
        if (merge && !segments.empty()) {
            segments.back() += array->size();
            last = std::move(both);
        } else {
            segments.push_back(array->size());
            last = std::move(next);
        }
    }
    return segments;
}

}  // namespace

Vector<std::uint8_t> encode_axes(std::span<const Vector<std::int16_t>* const> arrays) {
    Vector<std::int32_t> values;
    for (const Vector<std::int16_t>* array : arrays) values.insert(values.end(), array->begin(), array->end());
    return encode_symbols(values, axes_segments(arrays), 0);
}

}  // namespace vaecomp::core
