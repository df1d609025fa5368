// Where a section's elements go: what all kinds share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/function_ref.hpp"
#include "kernels/chunk/chunk.hpp"

namespace vaecomp::core {

// Hears of `count` elements of a target, from `first` on, that have just been written; called from several threads at
// once.
using Written = FunctionRef<void(std::size_t target, std::size_t first, std::size_t count)>;

// The parts of the flat vector, of `length` elements each, in which a target lies.
Vector<std::size_t> wanted_parts(std::span<const TensorTarget> targets, std::size_t length);
// Of everything wanted in the range [begin, end) of the flat vector.
void tell(Written written, std::span<const TensorTarget> targets, std::size_t begin, std::size_t end);

// values[i] = base[i] + values[i]; a NaN is the canonical one.
void add_base(const float* base, std::span<float> values);
// Writes them to the target's elements from `first` on; `values` may become anything.
void write_sum(const TensorTarget& target, std::size_t first, const float* base, std::span<float> values);

}  // namespace vaecomp::core
