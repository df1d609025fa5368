// CRC-32C of long stretches of bytes on several threads.
#pragma once

#include <cstdint>

#include "core/bytes.hpp"

namespace vaecomp {

std::uint32_t checksum(Bytes bytes, std::size_t threads);

}  // namespace vaecomp
