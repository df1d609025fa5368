#include <immintrin.h>

#include "kernels/add_base/add_base.hpp"

namespace vaecomp::core::avx512 {
namespace {

constexpr std::size_t lanes = 16;

}  // namespace

void add_base(const float* base, const float* values, std::size_t count, std::uint8_t* sums) {
    const __m512 canonical = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) {
        const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(base + i), _mm512_loadu_ps(values + i));
        const __mmask16 is_nan = _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q);
        _mm512_storeu_ps(sums + i * sizeof(float), _mm512_mask_mov_ps(sum, is_nan, canonical));
    }
    scalar::add_base(base + i, values + i, count - i, sums + i * sizeof(float));
}

}  // namespace vaecomp::core::avx512
