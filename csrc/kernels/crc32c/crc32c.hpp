// CRC-32C (docs/kernels.md, 6).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

using Crc32c = std::uint32_t(const std::uint8_t* bytes, std::size_t size);

namespace scalar {
Crc32c crc32c;
}
namespace avx2 {
Crc32c crc32c;
}
namespace neon {
Crc32c crc32c;
}

}  // namespace vaecomp::core
