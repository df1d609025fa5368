// Named tensors to one chunked float32 array and back (docs/kernels.md, 1), for training.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/dtype.hpp"
#include "kernels/chunk/chunk.hpp"

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

// The inverse of flatten, of all elements. The targets' starts follow from their order.
void unflatten(std::span<const float> flat, Vector<TensorTarget> targets, std::size_t threads);

}  // namespace vaecomp::core
