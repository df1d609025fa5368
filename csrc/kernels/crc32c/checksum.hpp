// CRC-32C of long stretches of bytes on several threads.
#pragma once

#include <cstdint>

#include "core/source.hpp"

namespace vaecomp::core {

// The CRC-32C of `size` bytes from `offset` on.
std::uint32_t checksum(const Source& source, std::uint64_t offset, std::uint64_t size, std::size_t threads);

}  // namespace vaecomp::core
