// As with AVX2, in wider and more registers.
#include "kernels/linear_i8/avx512.hpp"

#include <immintrin.h>
#include <string.h>

#include "kernels/linear_i8/blocked.hpp"

namespace vaecomp::core::avx512 {
namespace {

struct Vector : IntegerSums {
    using Weights = __m512i;
    using Inputs = __m512i;
    using Element = std::int16_t;
    static constexpr std::size_t inputs = 2;

    static Weights weights(const std::int8_t* at) {
        return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    }
    static Element element(std::int8_t x) { return x; }
    static Inputs broadcast(const Element* pair) {
        int bits;
        memcpy(&bits, pair, sizeof(bits));
        return _mm512_set1_epi32(bits);
    }
    static Sum multiply_add(Sum sum, Weights weights, Inputs input) {
        return _mm512_add_epi32(sum, _mm512_madd_epi16(weights, input));
    }
};

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    BlockedLinearI8<Vector>::run(packed, bias, out, in, x, rows, acc);
}

void requantize(const std::int32_t* acc, std::size_t rows, std::size_t out, const std::int32_t* multiplier,
                const std::uint8_t* shift, std::int8_t* y) {
    const __m512i one = _mm512_set1_epi64(1), limit = _mm512_set1_epi64(127);
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; o += 8) {
            const auto lanes = static_cast<__mmask8>(out - o < 8 ? (1u << (out - o)) - 1 : 0xff);
            // A negative accumulator gives 0 in the end, so that unsigned shifts suffice.
            const __m256i sums = _mm256_maskz_loadu_epi32(lanes, acc + r * out + o);
            const __m512i positive = _mm512_cvtepi32_epi64(_mm256_max_epi32(sums, _mm256_setzero_si256()));
            const __m512i factor = _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(lanes, multiplier + o));
            const __m512i by = _mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8(lanes, shift + o));
            // Half of 2^shift: 1 << (shift - 1), and 0 for shift 0 because counts beyond 63 shift everything out.
            const __m512i half = _mm512_sllv_epi64(one, _mm512_sub_epi64(by, one));
            const __m512i product = _mm512_mul_epu32(positive, factor);
            const __m512i rounded = _mm512_srlv_epi64(_mm512_add_epi64(product, half), by);
            const __m512i clamped = _mm512_min_epi64(rounded, limit);
            _mm512_mask_cvtepi64_storeu_epi8(y + r * out + o, lanes, clamped);
        }
    }
}

void scale_output(const std::int32_t* acc, std::size_t rows, std::size_t out, const float* scale, float* y) {
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; o += 16) {
            const auto lanes = static_cast<__mmask16>(out - o < 16 ? (1u << (out - o)) - 1 : 0xffff);
            const __m512 sums = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(lanes, acc + r * out + o));
            const __m512 values = _mm512_mul_ps(sums, _mm512_maskz_loadu_ps(lanes, scale + o));
            _mm512_mask_storeu_ps(y + r * out + o, lanes, values);
        }
    }
}

}  // namespace vaecomp::core::avx512
