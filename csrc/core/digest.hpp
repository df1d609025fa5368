// XXH64 and the tensor digest built from it (docs/kernels.md, 6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/dtype.hpp"

namespace vaecomp::core {

inline constexpr std::size_t digest_leaf_bytes = 65536;

std::uint64_t xxh64(Bytes bytes);

// `count` elements in host byte order.
struct DigestSource {
    const void* data;
    std::size_t count;
    DType dtype;
};

// A digest for each tensor; the hashes are those of little-endian bytes.
Vector<std::uint64_t> tensor_digests(std::span<const DigestSource> tensors, std::size_t threads);
std::uint64_t tensor_digest(const DigestSource& tensor, std::size_t threads);

}  // namespace vaecomp::core
