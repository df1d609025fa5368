// Decoded float32 values to tensors of any float dtype (docs/kernels.md, 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/dtype.hpp"

namespace vaecomp::core {

// Contiguous elements in host byte order to be written: a tensor, or some of one.
struct TensorTarget {
    std::uint8_t* data;
    std::size_t count;
    DType dtype;
    std::size_t start = 0;  // in the flat vector made of several tensors
    std::size_t place = 0;  // of its tensor among these
};

// Converts values and writes them to the target's elements from `first` on.
void write(const TensorTarget& target, std::size_t first, std::span<const float> values);

// Converts the elements [begin, begin + values.size()) of the flat vector and writes those that `targets`, in the order
// of their starts, want.
void scatter(std::span<const float> values, std::size_t begin, std::span<const TensorTarget> targets);

}  // namespace vaecomp::core
