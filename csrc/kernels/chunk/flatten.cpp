#include "kernels/chunk/flatten.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "core/endian.hpp"
#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

// Elements a task converts: 1 MiB of float32, which takes several times as long as starting a thread.
constexpr std::size_t grain = 262144;

// Index of the item that holds flat position `at`, for ascending starts.
std::size_t item_at(std::span<const std::size_t> starts, std::size_t at) {
    return static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), at) - starts.begin()) - 1;
}

template <typename Item, typename Count>
Vector<std::size_t> starts_of(std::span<const Item> items, Count count) {
    Vector<std::size_t> starts(items.size());
    std::size_t at = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        starts[i] = at;
        at += count(items[i]);
    }
    return starts;
}

// Merges neighbouring dimensions that are laid out as one, and drops those of length 1.
TensorView coalesced(const TensorView& tensor) {
    TensorView result{tensor.data, {}, {}, tensor.dtype, tensor.byte_swapped};
    for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
        const std::size_t length = tensor.shape[d];
        const std::ptrdiff_t stride = tensor.strides[d];
        if (length == 1) continue;
        if (!result.shape.empty() && result.strides.back() == stride * static_cast<std::ptrdiff_t>(length)) {
            result.shape.back() *= length;
            result.strides.back() = stride;
        } else {
            result.shape.push_back(length);
            result.strides.push_back(stride);
        }
    }
    if (result.shape.empty()) {
        result.shape = {1};
        result.strides = {static_cast<std::ptrdiff_t>(info(tensor.dtype).size)};
    }
    return result;
}

// `count` elements, `stride` bytes apart, as contiguous ones in host byte order.
void gather(const std::uint8_t* from, std::ptrdiff_t stride, std::size_t count, std::size_t item, bool swapped,
            std::uint8_t* to) {
    for (std::size_t i = 0; i < count; ++i)
        std::memcpy(to + i * item, from + static_cast<std::ptrdiff_t>(i) * stride, item);
    if (swapped) swap_items(to, to, count, item);
}

// One line along the last dimension.
void convert_line(const TensorView& tensor, const std::uint8_t* from, std::size_t count, float* out) {
    constexpr std::size_t buffered = 512;
    const std::size_t item = info(tensor.dtype).size;
    const std::ptrdiff_t stride = tensor.strides.back();
    ToFloat32* const convert = kernels().to_float32[convertible_index(tensor.dtype)];
    if (stride == static_cast<std::ptrdiff_t>(item) && !tensor.byte_swapped) {
        convert(from, out, count);
        return;
    }
    std::array<std::uint8_t, buffered * 8> buffer;
    for (std::size_t i = 0; i < count; i += buffered) {
        const std::size_t length = std::min(buffered, count - i);
        gather(from + static_cast<std::ptrdiff_t>(i) * stride, stride, length, item, tensor.byte_swapped,
               buffer.data());
        convert(buffer.data(), out + i, length);
    }
}

// Elements [begin, begin + count) of a coalesced tensor in C order.
void convert_range(const TensorView& tensor, std::size_t begin, std::size_t count, float* out) {
    const std::size_t line = tensor.shape.back();
    while (count > 0) {
        std::size_t outer = begin / line;
        const std::size_t column = begin % line, length = std::min(line - column, count);
        const std::uint8_t* from = tensor.data + static_cast<std::ptrdiff_t>(column) * tensor.strides.back();
        for (std::size_t d = tensor.shape.size() - 1; d-- > 0; outer /= tensor.shape[d]) {
            from += static_cast<std::ptrdiff_t>(outer % tensor.shape[d]) * tensor.strides[d];
        }
        convert_line(tensor, from, length, out);
        begin += length;
        out += length;
        count -= length;
    }
}

}  // namespace

std::size_t TensorView::count() const {
    return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

void flatten(std::span<const TensorView> tensors, float* out, std::size_t out_count, std::size_t threads) {
    Vector<TensorView> views;
    for (const TensorView& tensor : tensors) {
        if (tensor.count() > 0) views.push_back(coalesced(tensor));
    }
    const std::span<const TensorView> all(views);
    const Vector<std::size_t> starts = starts_of(all, [](const TensorView& view) { return view.count(); });
    const std::size_t flat = views.empty() ? 0 : starts.back() + views.back().count();
    parallel_ranges(out_count, grain, threads, [&](std::size_t begin, std::size_t end) {
        std::size_t at = begin;
        for (const std::size_t stop = std::min(end, flat); at < stop;) {
            const std::size_t i = item_at(starts, at);
            const std::size_t length = std::min(stop, starts[i] + views[i].count()) - at;
            convert_range(views[i], at - starts[i], length, out + at);
            at += length;
        }
        std::fill(out + at, out + end, 0.0f);
    });
}

void unflatten(std::span<const float> flat, Vector<TensorTarget> targets, std::size_t threads) {
    std::size_t start = 0;
    for (TensorTarget& target : targets) {
        target.start = start;
        start += target.count;
    }
    parallel_ranges(flat.size(), grain, threads, [&](std::size_t begin, std::size_t end) {
        scatter(flat.subspan(begin, end - begin), begin, std::span<const TensorTarget>(targets));
    });
}

}  // namespace vaecomp::core
