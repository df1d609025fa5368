// XXH64 and the tensor digest built from it (docs/kernels.md, 6).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/bytes.hpp"
#include "core/dtype.hpp"

namespace vaecomp {

inline constexpr std::size_t digest_leaf_bytes = 65536;

std::uint64_t xxh64(Bytes bytes);

// Digest of `count` elements in host byte order; the hash is that of their little-endian bytes.
std::uint64_t tensor_digest(const void* data, std::size_t count, DType dtype, std::size_t threads);

}  // namespace vaecomp
