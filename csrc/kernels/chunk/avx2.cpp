// F16C and integer forms of the conversions. NaN follows docs/kernels.md: widening keeps the payload and
// quiets (as F16C does), narrowing gives the canonical NaN.
#include <immintrin.h>

#include "kernels/chunk/convert.hpp"

namespace vaecomp::core::avx2 {
namespace {

__m256i magnitude(__m256i bits) { return _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)); }

// Lanes that hold a NaN, from float32 bits.
__m256i nan_lanes(__m256i bits) { return _mm256_cmpgt_epi32(magnitude(bits), _mm256_set1_epi32(0x7f800000)); }

__m256i pack_words(__m256i words) { return _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08); }

}  // namespace

void from_f16(const std::uint8_t* from, float* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(half));
    }
    scalar::from_f16(from + 2 * i, to + i, count - i);
}

void from_bf16(const std::uint8_t* from, float* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
        const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
        const __m256i quiet = _mm256_and_si256(nan_lanes(bits), _mm256_set1_epi32(0x00400000));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_or_si256(bits, quiet));
    }
    scalar::from_bf16(from + 2 * i, to + i, count - i);
}

void from_f64(const std::uint8_t* from, float* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        // The conversion itself keeps sign and top payload bits of a NaN and quiets it.
        const __m256d wide = _mm256_loadu_pd(reinterpret_cast<const double*>(from + 8 * i));
        _mm_storeu_ps(to + i, _mm256_cvtpd_ps(wide));
    }
    scalar::from_f64(from + 8 * i, to + i, count - i);
}

void to_f16(const float* from, std::uint8_t* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m256 value = _mm256_loadu_ps(from + i);
        const __m256i bits = _mm256_castps_si256(value);
        // A NaN's payload is cleared first, so that F16C gives sign | 0x7e00.
        const __m256i canonical =
            _mm256_or_si256(_mm256_xor_si256(bits, magnitude(bits)), _mm256_set1_epi32(0x7fc00000));
        const __m256 clean = _mm256_castsi256_ps(_mm256_blendv_epi8(bits, canonical, nan_lanes(bits)));
        const __m128i half = _mm256_cvtps_ph(clean, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i), half);
    }
    scalar::to_f16(from + i, to + 2 * i, count - i);
}

void to_bf16(const float* from, std::uint8_t* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(from + i));
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded =
            _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
        const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(bits, 31), 15);
        const __m256i nan = _mm256_or_si256(sign, _mm256_set1_epi32(0x7fc0));
        const __m256i words = _mm256_blendv_epi8(rounded, nan, nan_lanes(bits));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 2 * i), _mm256_castsi256_si128(pack_words(words)));
    }
    scalar::to_bf16(from + i, to + 2 * i, count - i);
}

void to_f64(const float* from, std::uint8_t* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        _mm256_storeu_pd(reinterpret_cast<double*>(to + 8 * i), _mm256_cvtps_pd(_mm_loadu_ps(from + i)));
    }
    scalar::to_f64(from + i, to + 8 * i, count - i);
}

}  // namespace vaecomp::core::avx2
