// Tensors as entropy-coded byte planes (docs/format.md, Lossless).
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "entropy/symbol_stream.hpp"
#include "format/planes.hpp"
#include "format/split.hpp"

namespace vaecomp::core {

// The bytes of one significance of all items of a tensor: as they are in blocks, or coded.
using Plane = std::variant<CheckedBlocks, SymbolStream>;
// The planes of a tensor, the least significant first; none of an empty one.
using Planes = Vector<Plane>;
using LosslessTensor = std::variant<Planes, SplitTensor>;

// Reads the head of a section that ends at `section_end`; see read_quantized.
Vector<LosslessTensor> read_lossless(ByteReader head, std::uint64_t section_end, std::span<const PlanesShape> shapes,
                                     std::uint64_t max_symbols, std::size_t threads);

// The elements of one tensor from `first` on, as many as `part` has, in host byte order. Throws malformed, without
// saying where, for a bool that is neither 0 nor 1.
void decode_planes(const Source& source, std::span<const Plane> planes, std::size_t first, const PlanesShape& part,
                   std::uint8_t* out);

}  // namespace vaecomp::core
