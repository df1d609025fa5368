// SHA-256 (FIPS 180-4), by which packs are named.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vaecomp::core {

inline constexpr std::size_t sha256_bytes = 32;
using Sha256 = std::array<std::uint8_t, sha256_bytes>;

class Sha256Hasher {
  public:
    void add(std::span<const std::uint8_t> bytes);
    // To be called once, after all bytes.
    [[nodiscard]] Sha256 finish();

  private:
    void block(const std::uint8_t* data);

    std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<std::uint8_t, 64> rest_{};
    std::uint64_t bytes_ = 0;
};

// As `sha256sum` prints it.
std::string hex(const Sha256& hash);

}  // namespace vaecomp::core
