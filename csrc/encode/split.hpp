// Floats to symbols of their high bits, and their low bits (docs/format.md, Lossless).
#pragma once

#include "encode/lossless.hpp"

namespace vaecomp::core {

// Writes a tensor in this form, the form itself included, if its planes would take more by an estimate from some of its
// rows. Says whether it did.
bool write_split(EncodedTensor& encoded, const PlanesSource& tensor, std::size_t threads);

}  // namespace vaecomp::core
