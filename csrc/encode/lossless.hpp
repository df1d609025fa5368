// Tensors bit for bit: to entropy-coded byte planes, or to high and low bits (docs/format.md, Lossless).
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {

// A contiguous tensor in host byte order.
struct PlanesSource {
    PlanesShape shape;
    const std::uint8_t* data;
};
Vector<std::uint8_t> encode_lossless(std::span<const PlanesSource> tensors);

}  // namespace vaecomp::core
