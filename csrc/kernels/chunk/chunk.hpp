// Named tensors to one chunked float32 array and back (docs/kernels.md, 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/dtype.hpp"

namespace vaecomp::core {

// Somebody else's tensor: any strides (in bytes), either byte order.
struct TensorView {
    const std::uint8_t* data;
    Vector<std::size_t> shape;
    Vector<std::ptrdiff_t> strides;
    DType dtype;
    bool byte_swapped;

    [[nodiscard]] std::size_t count() const;
};

// Writes the tensors' elements and the padding zeros to out[0, out_count).
void flatten(std::span<const TensorView> tensors, float* out, std::size_t out_count, std::size_t threads);

// Contiguous elements in host byte order to be written: a tensor, or some of one.
struct TensorTarget {
    std::uint8_t* data;  // null: nobody wants them
    std::size_t count;
    DType dtype;
    std::size_t start = 0;  // in the flat vector made of several
};

// Converts values and writes them to the target's elements from `first` on.
void write(const TensorTarget& target, std::size_t first, std::span<const float> values);

// Converts the elements [begin, begin + values.size()) of the flat vector and writes those that `targets`, in the order
// of their starts, want.
void scatter(std::span<const float> values, std::size_t begin, std::span<const TensorTarget> targets);

// The whole inverse of flatten; the targets' starts follow from their order.
void unflatten(std::span<const float> flat, Vector<TensorTarget> targets, std::size_t threads);

}  // namespace vaecomp::core
