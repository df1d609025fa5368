#include <immintrin.h>

#include "kernels/add_base/add_base.hpp"

namespace vaecomp::core::avx2 {
namespace {

constexpr std::size_t lanes = 8;

}  // namespace

void add_base(const float* base, const float* values, std::size_t count, std::uint8_t* sums) {
    const __m256 canonical = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) {
        const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(base + i), _mm256_loadu_ps(values + i));
        const __m256 is_nan = _mm256_cmp_ps(sum, sum, _CMP_UNORD_Q);
        const __m256i bits = _mm256_castps_si256(_mm256_blendv_ps(sum, canonical, is_nan));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i * sizeof(float)), bits);
    }
    scalar::add_base(base + i, values + i, count - i, sums + i * sizeof(float));
}

}  // namespace vaecomp::core::avx2
