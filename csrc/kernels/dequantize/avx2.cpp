// Scales come from two numbers instead of a table: the scale of exponent 2 k + parity is the scale of `parity` with k
// added to its exponent bits.
#include <immintrin.h>
#include <string.h>

#include "kernels/dequantize/dequantize.hpp"

namespace vaecomp::core::avx2 {
namespace {

constexpr std::size_t lanes = 8;

__m256i bits_of(const float* scale) {
    int bits;
    memcpy(&bits, scale, sizeof(bits));
    return _mm256_set1_epi32(bits);
}

}  // namespace

void dequantize(const std::int32_t* symbols, const Scales& scales, std::int32_t row, const std::int16_t* columns,
                std::size_t count, float* out) {
    const __m256i even = bits_of(scales.of), odd = scales.count > 1 ? bits_of(scales.of + 1) : even;
    const __m256i first = _mm256_set1_epi32(row), one = _mm256_set1_epi32(1);
    std::size_t j = 0;
    for (; j + lanes <= count; j += lanes) {
        __m256i exponents = first;
        if (columns != nullptr) {
            const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(columns + j));
            exponents = _mm256_add_epi32(first, _mm256_cvtepi16_epi32(narrow));
        }
        const __m256i is_odd = _mm256_cmpeq_epi32(_mm256_and_si256(exponents, one), one);
        const __m256i start = _mm256_blendv_epi8(even, odd, is_odd);
        const __m256i bits = _mm256_add_epi32(start, _mm256_slli_epi32(_mm256_srai_epi32(exponents, 1), 23));
        const __m256 levels = _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + j)));
        _mm256_storeu_ps(out + j, _mm256_mul_ps(levels, _mm256_castsi256_ps(bits)));
    }
    scalar::dequantize(symbols + j, scales, row, columns == nullptr ? nullptr : columns + j, count - j, out + j);
}

}  // namespace vaecomp::core::avx2
