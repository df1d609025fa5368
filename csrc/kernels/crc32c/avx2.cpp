// The crc32 instruction (SSE4.2) computes CRC-32C eight bytes at a time.
#include <immintrin.h>
#include <string.h>

#include "kernels/crc32c/crc32c.hpp"

namespace vaecomp::core::avx2 {

std::uint32_t crc32c(const std::uint8_t* bytes, std::size_t size) {
    std::uint64_t crc = 0xffffffffu;
    for (; size >= 8; bytes += 8, size -= 8) {
        std::uint64_t word;
        memcpy(&word, bytes, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    auto narrow = static_cast<std::uint32_t>(crc);
    for (; size > 0; ++bytes, --size) narrow = _mm_crc32_u8(narrow, *bytes);
    return ~narrow;
}

}  // namespace vaecomp::core::avx2
