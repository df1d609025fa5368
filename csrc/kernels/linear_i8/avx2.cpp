// vpmaddwd on sign-extended weights: products and pair sums are exact in 32 bits, nothing saturates.
#include <immintrin.h>
#include <string.h>

#include "kernels/linear_i8/blocked.hpp"

namespace vaecomp::core::avx2 {
namespace {

struct Vector {
    using Sum = __m256i;
    using Weights = __m256i;
    using Inputs = __m256i;
    using Element = std::int16_t;  // a pair of them is one 32-bit broadcast
    // 10 sums, 2 vectors of weights, an input and a product are 14 of 16 registers.
    static constexpr std::size_t lanes = 8, vectors = 2, rows = 5, inputs = 2;

    // The lanes beyond are zero.
    static Sum load(const std::int32_t* at, std::size_t count) {
        if (count == lanes) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        alignas(32) std::int32_t all[lanes] = {};
        memcpy(all, at, count * sizeof(std::int32_t));
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(all));
    }
    static void store(Sum sum, std::int32_t* to, std::size_t count) {
        if (count == lanes) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sum);
        alignas(32) std::int32_t all[lanes];
        _mm256_store_si256(reinterpret_cast<__m256i*>(all), sum);
        memcpy(to, all, count * sizeof(std::int32_t));
    }
    static Weights weights(const std::int8_t* at) {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    }
    static Element element(std::int8_t x) { return x; }
    static Inputs broadcast(const Element* pair) {
        int bits;
        memcpy(&bits, pair, sizeof(bits));
        return _mm256_set1_epi32(bits);
    }
    static Sum multiply_add(Sum sum, Weights weights, Inputs input) {
        return _mm256_add_epi32(sum, _mm256_madd_epi16(weights, input));
    }
};

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    BlockedLinearI8<Vector>::run(packed, bias, out, in, x, rows, acc);
}

void requantize(const std::int32_t* acc, std::size_t rows, std::size_t out, const std::int32_t* multiplier,
                const std::uint8_t* shift, std::int8_t* y) {
    const __m256i limit = _mm256_set1_epi64x(127);
    for (std::size_t r = 0; r < rows; ++r) {
        std::size_t o = 0;
        for (; o + 4 <= out; o += 4) {
            // A negative accumulator gives 0 in the end, so that unsigned shifts suffice.
            const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(acc + r * out + o));
            const __m256i positive = _mm256_cvtepi32_epi64(_mm_max_epi32(narrow, _mm_setzero_si128()));
            const __m256i factor =
                _mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(multiplier + o)));
            std::int32_t shift_bytes;
            memcpy(&shift_bytes, shift + o, sizeof(shift_bytes));
            const __m256i by = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(shift_bytes));
            // Half of 2^shift: 1 << (shift - 1), and 0 for shift 0 because counts beyond 63 shift everything out.
            const __m256i one = _mm256_set1_epi64x(1);
            const __m256i half = _mm256_sllv_epi64(one, _mm256_sub_epi64(by, one));
            const __m256i product = _mm256_mul_epu32(positive, factor);
            const __m256i rounded = _mm256_srlv_epi64(_mm256_add_epi64(product, half), by);
            const __m256i clamped = _mm256_blendv_epi8(rounded, limit, _mm256_cmpgt_epi64(rounded, limit));
            alignas(32) std::int64_t values[4];
            _mm256_store_si256(reinterpret_cast<__m256i*>(values), clamped);
            for (std::size_t i = 0; i < 4; ++i) y[r * out + o + i] = static_cast<std::int8_t>(values[i]);
        }
        for (; o < out; ++o) scalar::requantize(acc + r * out + o, 1, 1, multiplier + o, shift + o, y + r * out + o);
    }
}

void scale_output(const std::int32_t* acc, std::size_t rows, std::size_t out, const float* scale, float* y) {
    for (std::size_t r = 0; r < rows; ++r) {
        std::size_t o = 0;
        for (; o + 8 <= out; o += 8) {
            const __m256i sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc + r * out + o));
            _mm256_storeu_ps(y + r * out + o, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale + o)));
        }
        scalar::scale_output(acc + r * out + o, 1, out - o, scale + o, y + r * out + o);
    }
}

}  // namespace vaecomp::core::avx2
