#include "kernels/crc32c/checksum.hpp"

#include <algorithm>

#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

// Bytes of a task, which take much longer than waking a thread.
constexpr std::size_t grain = std::size_t{1} << 20;

// Polynomials over GF(2) modulo that of CRC-32C, with x^0 in the highest bit.
constexpr std::uint32_t polynomial = 0x82f63b78, one = 0x80000000, x_to_the_8 = one >> 8;

std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
    std::uint32_t product = 0;
    for (std::uint32_t bit = one; bit != 0; bit >>= 1) {
        if (a & bit) product ^= b;
        b = b & 1 ? b >> 1 ^ polynomial : b >> 1;
    }
    return product;
}

std::uint32_t power(std::uint32_t base, std::uint64_t exponent) {
    std::uint32_t result = one;
    for (; exponent > 0; exponent >>= 1, base = multiply(base, base)) {
        if (exponent & 1) result = multiply(result, base);
    }
    return result;
}

}  // namespace

std::uint32_t checksum(const Source& source, std::uint64_t offset, std::uint64_t size, std::size_t threads) {
    Vector<std::uint32_t> parts(static_cast<std::size_t>((size + grain - 1) / grain));
    const auto size_of = [&](std::size_t i) { return std::min<std::uint64_t>(grain, size - i * grain); };
    parallel_for(parts.size(), threads, [&](std::size_t i) {
        const LoadedBytes part(source, offset + i * grain, size_of(i));
        parts[i] = kernels().crc32c(part.bytes().data(), part.bytes().size());
    });
    if (parts.empty()) return 0;
    // Each byte behind a part multiplies the part's CRC with x^8.
    const std::uint32_t whole = power(x_to_the_8, grain), rest = power(x_to_the_8, size_of(parts.size() - 1));
    std::uint32_t crc = parts.front();
    for (std::size_t i = 1; i < parts.size(); ++i) crc = multiply(crc, i + 1 < parts.size() ? whole : rest) ^ parts[i];
    return crc;
}

}  // namespace vaecomp::core
