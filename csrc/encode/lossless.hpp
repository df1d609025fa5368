// Tensors bit for bit: to entropy-coded byte planes, or to high and low bits (docs/format.md, Lossless).
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "encode/byte_writer.hpp"
#include "encode/payload.hpp"
#include "format/planes.hpp"

namespace vaecomp::core {

// A contiguous tensor in host byte order.
struct PlanesSource {
    PlanesShape shape;
    const std::uint8_t* data;
};

// What a tensor puts into the section's head, and behind it.
struct EncodedTensor {
    ByteWriter head;
    Payload payload;
};

// Writes a section to where it is placed.
void encode_lossless(std::span<const PlanesSource> tensors, std::size_t threads, Place place);
Vector<std::uint8_t> encode_lossless(std::span<const PlanesSource> tensors);

}  // namespace vaecomp::core
