#include <immintrin.h>

#include "kernels/add_costs/add_costs.hpp"

namespace vaecomp::core::avx512 {
namespace {

__m512i plus(__m512i sums, const std::uint16_t* costs) {
    const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(costs));
    return _mm512_add_epi32(sums, _mm512_cvtepu16_epi32(narrow));
}

}  // namespace

void add_costs(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums) {
    __m512i all = _mm512_loadu_si512(sums);
    for (std::size_t i = 0; i < count; ++i) all = plus(all, table + entries[i] * cost_lanes);
    _mm512_storeu_si512(sums, all);
}

void add_costs_apart(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t* own = sums + i * cost_lanes;
        _mm512_storeu_si512(own, plus(_mm512_loadu_si512(own), table + entries[i] * cost_lanes));
    }
}

}  // namespace vaecomp::core::avx512
