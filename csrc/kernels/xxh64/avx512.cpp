// One input is a chain of multiplications that wait for each other. Several inputs side by side, two in a register,
// fill the wait.
#include <immintrin.h>

#include "kernels/xxh64/xxh64.hpp"

namespace vaecomp::core::avx512 {
namespace {

__m512i broadcast(std::uint64_t value) { return _mm512_set1_epi64(static_cast<long long>(value)); }

// The stripes at the same place of two inputs.
__m512i load(const std::uint8_t* const* inputs, std::size_t at) {
    const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs[0] + at));
    const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs[1] + at));
    return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

// Hashes 2 * pairs inputs of a stripe or more.
template <std::size_t pairs>
void hash(const std::uint8_t* const* inputs, std::size_t size, std::uint64_t* hashes) {
    const __m512i prime1 = broadcast(xxh64_primes[0]), prime2 = broadcast(xxh64_primes[1]);
    const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(xxh64_start));
    __m512i lanes[pairs];
    for (std::size_t p = 0; p < pairs; ++p) lanes[p] = _mm512_broadcast_i64x4(start);
    const std::size_t end = size / xxh64_stripe * xxh64_stripe;
    for (std::size_t at = 0; at < end; at += xxh64_stripe) {
#pragma GCC unroll 8
        for (std::size_t p = 0; p < pairs; ++p) {
            const __m512i input = _mm512_mullo_epi64(load(inputs + 2 * p, at), prime2);
            lanes[p] = _mm512_mullo_epi64(_mm512_rol_epi64(_mm512_add_epi64(lanes[p], input), 31), prime1);
        }
    }
    for (std::size_t p = 0; p < pairs; ++p) {
        std::uint64_t both[8];
        _mm512_storeu_si512(both, lanes[p]);
        for (std::size_t i = 0; i < 2; ++i) {
            hashes[2 * p + i] = scalar::xxh64_finish(both + 4 * i, inputs[2 * p + i] + end, size);
        }
    }
}

}  // namespace

void xxh64(const std::uint8_t* const* inputs, std::size_t count, std::size_t size, std::uint64_t* hashes) {
    std::size_t i = 0;
    if (size >= xxh64_stripe) {
        for (; i + 8 <= count; i += 8) hash<4>(inputs + i, size, hashes + i);
        for (; i + 2 <= count; i += 2) hash<1>(inputs + i, size, hashes + i);
    }
    scalar::xxh64(inputs + i, count - i, size, hashes + i);
}

}  // namespace vaecomp::core::avx512
