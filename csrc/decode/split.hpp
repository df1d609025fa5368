// Split tensors from their symbols and bits.
#pragma once

#include <cstdint>

#include "core/source.hpp"
#include "format/split.hpp"

namespace vaecomp::core {

// The elements of one tensor from `first` on, as many as `part` has, in host byte order. Throws malformed, without
// saying where.
void decode_split(const Source& source, const SplitTensor& tensor, std::size_t first, const PlanesShape& part,
                  std::uint8_t* out);

}  // namespace vaecomp::core
