// Named tensors to one chunked float32 array and back (docs/kernels.md, 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/dtype.hpp"

namespace vaecomp {

// Somebody else's tensor: any strides (in bytes), either byte order.
struct TensorView {
    const std::uint8_t* data;
    std::vector<std::size_t> shape;
    std::vector<std::ptrdiff_t> strides;
    DType dtype;
    bool byte_swapped;

    [[nodiscard]] std::size_t count() const;
};

// Writes the tensors' elements and the padding zeros to out[0, out_count).
void flatten(std::span<const TensorView> tensors, float* out, std::size_t out_count, std::size_t threads);

// A contiguous tensor in host byte order to be written.
struct TensorTarget {
    std::uint8_t* data;
    std::size_t count;
    DType dtype;
};

// Converts values and writes them to the target's elements from `first` on.
void write(const TensorTarget& target, std::size_t first, std::span<const float> values);

// Converts the elements [begin, begin + values.size()) of the flat vector made of `targets` and writes those that
// `targets` want: target t begins at starts[t]; a target without data is skipped.
void scatter(std::span<const float> values, std::size_t begin, std::span<const TensorTarget> targets,
             std::span<const std::size_t> starts);

// The whole inverse of flatten.
void unflatten(std::span<const float> flat, std::span<const TensorTarget> targets, std::size_t threads);

}  // namespace vaecomp
