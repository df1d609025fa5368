// The crc32cx instruction computes CRC-32C eight bytes at a time.
#include <arm_acle.h>
#include <string.h>

#include "kernels/crc32c/crc32c.hpp"

namespace vaecomp::core::neon {

std::uint32_t crc32c(const std::uint8_t* bytes, std::size_t size) {
    std::uint32_t crc = 0xffffffffu;
    for (; size >= 8; bytes += 8, size -= 8) {
        std::uint64_t word;
        memcpy(&word, bytes, 8);
        crc = __crc32cd(crc, word);
    }
    for (; size > 0; ++bytes, --size) crc = __crc32cb(crc, *bytes);
    return ~crc;
}

}  // namespace vaecomp::core::neon
