// Tensors as entropy-coded byte planes (docs/format.md, Lossless).
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "core/bytes.hpp"
#include "core/dtype.hpp"
#include "entropy/symbol_stream.hpp"

namespace vaecomp {

// The bytes of one significance of all items of a tensor: as they are, or coded.
using Plane = std::variant<Bytes, SymbolStream>;

struct PlanesShape {
    std::size_t elements;
    DType dtype;

    // A complex number is two items.
    [[nodiscard]] std::size_t item_bytes() const { return info(dtype).swap_size; }
    [[nodiscard]] std::size_t items() const { return elements * (info(dtype).size / item_bytes()); }
};

// The planes of each tensor, the least significant first; none of an empty one.
std::vector<std::vector<Plane>> read_lossless(ByteReader reader, std::span<const PlanesShape> shapes);

// One tensor in host byte order. Throws malformed, without saying where, for a bool that is neither 0 nor 1.
void decode_planes(std::span<const Plane> planes, const PlanesShape& shape, std::uint8_t* out, std::size_t threads);

// A contiguous tensor in host byte order.
struct PlanesSource {
    PlanesShape shape;
    const std::uint8_t* data;
};
std::vector<std::uint8_t> encode_lossless(std::span<const PlanesSource> tensors);

}  // namespace vaecomp
