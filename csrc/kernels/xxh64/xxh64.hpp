// XXH64, seed 0, of several inputs of one size (docs/kernels.md, 6).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

// hashes[i] is the hash of the `size` bytes at inputs[i].
using Xxh64 = void(const std::uint8_t* const* inputs, std::size_t count, std::size_t size, std::uint64_t* hashes);

inline constexpr std::uint64_t xxh64_primes[5] = {0x9e3779b185ebca87u, 0xc2b2ae3d27d4eb4fu, 0x165667b19e3779f9u,
                                                  0x85ebca77c2b2ae63u, 0x27d4eb2f165667c5u};
inline constexpr std::size_t xxh64_stripe = 32;
// The four lanes before the first stripe.
inline constexpr std::uint64_t xxh64_start[4] = {xxh64_primes[0] + xxh64_primes[1], xxh64_primes[1], 0,
                                                 0 - xxh64_primes[0]};

namespace scalar {
Xxh64 xxh64;
// The hash of `size` bytes, at least a stripe. Their whole stripes have made these lanes, and `rest` follows them.
std::uint64_t xxh64_finish(const std::uint64_t* lanes, const std::uint8_t* rest, std::size_t size);
}  // namespace scalar
namespace avx512 {
Xxh64 xxh64;
}

}  // namespace vaecomp::core
