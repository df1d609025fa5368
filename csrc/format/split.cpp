#include "format/split.hpp"

#include <algorithm>
#include <string>

#include "format/levels.hpp"

namespace vaecomp::core {
namespace {

constexpr std::size_t max_level = 255;
constexpr SymbolRange axis_range{0, 255};

void check_zeros(const ByteReader& reader, const SplitTensor& tensor) {
    const Vector<std::int16_t>& zeros = tensor.axes[split_row_zeros];
    const auto is_too_many = [&](std::int16_t count) { return count >= static_cast<int>(tensor.low); };
    if (std::any_of(zeros.begin(), zeros.end(), is_too_many)) reader.fail("row zeros", "are as many as the low bits");
}

}  // namespace

void SplitTensor::contexts(std::size_t begin, std::size_t end, std::uint8_t* out) const {
    level_tables({shape, level, axes[split_row_levels], axes[split_column_levels]}, begin, end, tables.size() - 1, out);
}

SplitTensor read_split(ByteReader& reader, const PlanesShape& shape, std::uint64_t max_symbols, std::size_t threads) {
    if (!is_rotated(shape)) reader.fail("plane's form", "is that of floats of 16 bits or more");
    SplitTensor tensor;
    tensor.shape = item_matrix(shape);
    tensor.item_bits = static_cast<unsigned>(8 * shape.item_bytes());
    tensor.low = reader.fixed<std::uint8_t>("low bits");
    if (tensor.low == 0 || tensor.low >= tensor.item_bits) reader.fail("low bits", "are none or all of an item");
    tensor.origin = reader.varint("origin");
    tensor.symbols = static_cast<std::int32_t>(reader.varint("symbol count", 1, max_split_symbols));
    const std::uint64_t highs = std::uint64_t{1} << tensor.high_bits();
    if (static_cast<std::uint64_t>(tensor.symbols) > highs ||
        tensor.origin > highs - static_cast<std::uint64_t>(tensor.symbols)) {
        reader.fail("symbols", "exceed the high bits");
    }
    const auto flags = reader.fixed<std::uint8_t>("tensor's flags");
    if (flags >> split_axis_count != 0) reader.fail("tensor's flags", "has an unknown flag");
    tensor.level = static_cast<std::size_t>(reader.varint("context level", 0, max_level));
    Vector<AxisValues> axes;
    for (std::size_t axis = 0; axis < split_axis_count; ++axis) {
        if (flags >> axis & 1) axes.push_back({&tensor.axes[axis], tensor.length(axis)});
    }
    read_axes(reader, axes, axis_range, "axes", "are not as many values as the flags ask for", max_symbols, threads);
    check_zeros(reader, tensor);
    static_cast<CodedSymbols&>(tensor) = read_coded_symbols(reader, {0, tensor.symbols}, tensor.shape.count());
    return tensor;
}

}  // namespace vaecomp::core
