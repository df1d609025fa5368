#include <bit>

#include "core/endian.hpp"
#include "kernels/xxh64/xxh64.hpp"

namespace vaecomp::core::scalar {
namespace {

constexpr std::uint64_t prime1 = xxh64_primes[0], prime2 = xxh64_primes[1], prime3 = xxh64_primes[2],
                        prime4 = xxh64_primes[3], prime5 = xxh64_primes[4];

std::uint64_t round(std::uint64_t lane, std::uint64_t input) { return std::rotl(lane + input * prime2, 31) * prime1; }

std::uint64_t merge(std::uint64_t hash, std::uint64_t lane) { return (hash ^ round(0, lane)) * prime1 + prime4; }

// Adds the size, and the bytes that fill no stripe.
std::uint64_t add_rest(std::uint64_t hash, const std::uint8_t* at, std::size_t size) {
    hash += size;
    std::size_t left = size % xxh64_stripe;
    for (; left >= 8; at += 8, left -= 8) {
        hash = std::rotl(hash ^ round(0, load_le<std::uint64_t>(at)), 27) * prime1 + prime4;
    }
    if (left >= 4) {
        hash = std::rotl(hash ^ (load_le<std::uint32_t>(at) * prime1), 23) * prime2 + prime3;
        at += 4;
        left -= 4;
    }
    for (; left > 0; ++at, --left) hash = std::rotl(hash ^ (*at * prime5), 11) * prime1;
    hash = (hash ^ (hash >> 33)) * prime2;
    hash = (hash ^ (hash >> 29)) * prime3;
    return hash ^ (hash >> 32);
}

std::uint64_t xxh64(const std::uint8_t* input, std::size_t size) {
    if (size < xxh64_stripe) return add_rest(prime5, input, size);
    std::uint64_t lanes[4] = {xxh64_start[0], xxh64_start[1], xxh64_start[2], xxh64_start[3]};
    const std::uint8_t* const rest = input + size / xxh64_stripe * xxh64_stripe;
    for (const std::uint8_t* at = input; at != rest; at += xxh64_stripe) {
        for (std::size_t i = 0; i < 4; ++i) lanes[i] = round(lanes[i], load_le<std::uint64_t>(at + 8 * i));
    }
    return xxh64_finish(lanes, rest, size);
}

}  // namespace

std::uint64_t xxh64_finish(const std::uint64_t* lanes, const std::uint8_t* rest, std::size_t size) {
    std::uint64_t hash =
        std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (std::size_t i = 0; i < 4; ++i) hash = merge(hash, lanes[i]);
    return add_rest(hash, rest, size);
}

void xxh64(const std::uint8_t* const* inputs, std::size_t count, std::size_t size, std::uint64_t* hashes) {
    for (std::size_t i = 0; i < count; ++i) hashes[i] = xxh64(inputs[i], size);
}

}  // namespace vaecomp::core::scalar
