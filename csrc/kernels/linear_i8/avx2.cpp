// vpmaddwd on sign-extended weights: products and pair sums are exact in 32 bits, nothing saturates.
#include <immintrin.h>
#include <string.h>

#include "kernels/linear_i8/linear_i8.hpp"

namespace vaecomp::avx2 {
namespace {

constexpr std::size_t outputs = linear_i8_layout.outputs;

// Inputs i and i + 1 (zero behind the end) of one row as int16 pairs in every lane.
__m256i broadcast_pair(const std::int8_t* x, std::size_t i, std::size_t in) {
    const int low = x[i], high = i + 1 < in ? x[i + 1] : 0;
    return _mm256_set1_epi32(
        static_cast<int>((static_cast<unsigned>(high) << 16) | (static_cast<unsigned>(low) & 0xffffu)));
}

// `row_count` rows times one panel of eight outputs.
template <int row_count>
void panel_rows(const std::int8_t* panel, __m256i bias, std::size_t in, const std::int8_t* x, __m256i* sums) {
    for (int r = 0; r < row_count; ++r) sums[r] = bias;
    for (std::size_t i = 0; i < in; i += 2, panel += 2 * outputs) {
        const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(panel)));
        for (int r = 0; r < row_count; ++r) {
            const __m256i pair = broadcast_pair(x + static_cast<std::size_t>(r) * in, i, in);
            sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(weights, pair));
        }
    }
}

void store_lanes(__m256i value, std::int32_t* to, std::size_t lanes) {
    if (lanes == outputs) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
    } else {
        alignas(32) std::int32_t all[outputs];
        _mm256_store_si256(reinterpret_cast<__m256i*>(all), value);
        memcpy(to, all, lanes * sizeof(std::int32_t));
    }
}

template <int row_count>
void block(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in, const std::int8_t* x,
           std::int32_t* acc) {
    const std::size_t panel_size = linear_i8_layout.size(outputs, in);
    for (std::size_t o = 0; o < out; o += outputs, packed += panel_size) {
        const std::size_t lanes = out - o < outputs ? out - o : outputs;
        alignas(32) std::int32_t start[outputs] = {};
        memcpy(start, bias + o, lanes * sizeof(std::int32_t));
        __m256i sums[row_count];
        panel_rows<row_count>(packed, _mm256_load_si256(reinterpret_cast<const __m256i*>(start)), in, x, sums);
        for (std::size_t r = 0; r < row_count; ++r) store_lanes(sums[r], acc + r * out + o, lanes);
    }
}

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    std::size_t r = 0;
    for (; r + 8 <= rows; r += 8) block<8>(packed, bias, out, in, x + r * in, acc + r * out);
    for (; r < rows; ++r) block<1>(packed, bias, out, in, x + r * in, acc + r * out);
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

}  // namespace vaecomp::avx2
