// Scales come from two numbers instead of a table: the scale of exponent 2 k + parity is the scale of `parity` with k
// added to its exponent bits.
#include <immintrin.h>
#include <string.h>

#include "kernels/dequantize/dequantize.hpp"

namespace vaecomp::core::avx512 {
namespace {

constexpr std::size_t lanes = 16;

__m512i bits_of(const float* scale) {
    int bits;
    memcpy(&bits, scale, sizeof(bits));
    return _mm512_set1_epi32(bits);
}

}  // namespace

void dequantize(const std::int32_t* symbols, const Scales& scales, std::int32_t row, const std::int16_t* columns,
                std::size_t count, float* out) {
    const __m512i even = bits_of(scales.of), odd = scales.count > 1 ? bits_of(scales.of + 1) : even;
    const __m512i first = _mm512_set1_epi32(row), one = _mm512_set1_epi32(1);
    std::size_t j = 0;
    for (; j + lanes <= count; j += lanes) {
        __m512i exponents = first;
        if (columns != nullptr) {
            const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns + j));
            exponents = _mm512_add_epi32(first, _mm512_cvtepi16_epi32(narrow));
        }
        const __m512i start = _mm512_mask_mov_epi32(even, _mm512_test_epi32_mask(exponents, one), odd);
        const __m512i bits = _mm512_add_epi32(start, _mm512_slli_epi32(_mm512_srai_epi32(exponents, 1), 23));
        const __m512 levels = _mm512_cvtepi32_ps(_mm512_loadu_si512(symbols + j));
        _mm512_storeu_ps(out + j, _mm512_mul_ps(levels, _mm512_castsi512_ps(bits)));
    }
    scalar::dequantize(symbols + j, scales, row, columns == nullptr ? nullptr : columns + j, count - j, out + j);
}

}  // namespace vaecomp::core::avx512
