#include <immintrin.h>

#include "kernels/add_costs/add_costs.hpp"

namespace vaecomp::core::avx2 {
namespace {

constexpr std::size_t width = 8;

__m256i plus(__m256i sums, const std::uint16_t* costs) {
    const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(costs));
    return _mm256_add_epi32(sums, _mm256_cvtepu16_epi32(narrow));
}

}  // namespace

void add_costs(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums) {
    __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + width));
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t* costs = table + entries[i] * cost_lanes;
        low = plus(low, costs);
        high = plus(high, costs + width);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + width), high);
}

void add_costs_apart(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums) {
    for (std::size_t i = 0; i < count; ++i) add_costs(table, entries + i, 1, sums + i * cost_lanes);
}

}  // namespace vaecomp::core::avx2
