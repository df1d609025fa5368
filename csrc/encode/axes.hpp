// Arrays along rows and columns of matrices to one stream (docs/format.md, Quantized and Differences).
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"

namespace vaecomp::core {

// Empty ones contribute nothing.
Vector<std::uint8_t> encode_axes(std::span<const Vector<std::int16_t>* const> arrays);

}  // namespace vaecomp::core
