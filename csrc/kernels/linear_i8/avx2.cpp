// vpmaddwd on sign-extended weights: products and pair sums are exact in 32 bits, nothing saturates.
#include <immintrin.h>
#include <string.h>

#include "kernels/linear_i8/linear_i8.hpp"

namespace vaecomp::avx2 {
namespace {

constexpr std::size_t outputs = linear_i8_layout.outputs;

constexpr std::size_t most_rows = 8;
// Inputs that are widened at a time: with most_rows rows they take 8 KiB, a quarter of the first-level cache.
constexpr std::size_t block_inputs = 512;

// Inputs as int16, so that a pair of them is one 32-bit broadcast; an odd last one is followed by zero.
using WideInputs = std::int16_t[most_rows][block_inputs];

template <int row_count>
void widen(const std::int8_t* x, std::size_t in, std::size_t count, WideInputs& wide) {
    for (std::size_t r = 0; r < row_count; ++r) {
        for (std::size_t i = 0; i < count; ++i) wide[r][i] = x[r * in + i];
        if (count % 2 == 1) wide[r][count] = 0;
    }
}

__m256i broadcast_pair(const std::int16_t* pair) {
    int bits;
    memcpy(&bits, pair, sizeof(bits));
    return _mm256_set1_epi32(bits);
}

// Eight outputs to or from `lanes` int32 at `at`; the lanes beyond are zero.
__m256i load_lanes(const std::int32_t* at, std::size_t lanes) {
    if (lanes == outputs) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    alignas(32) std::int32_t all[outputs] = {};
    memcpy(all, at, lanes * sizeof(std::int32_t));
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(all));
}

void store_lanes(__m256i value, std::int32_t* to, std::size_t lanes) {
    alignas(32) std::int32_t all[outputs];
    _mm256_store_si256(reinterpret_cast<__m256i*>(all), value);
    memcpy(to, all, lanes * sizeof(std::int32_t));
}

// Adds the products of `count` widened inputs to `row_count` rows of one panel of outputs.
template <int row_count>
void panel_rows(const std::int8_t* panel, const WideInputs& wide, std::size_t count, __m256i* sums) {
    for (std::size_t i = 0; i < count; i += 2, panel += 2 * outputs) {
        const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(panel)));
        for (int r = 0; r < row_count; ++r) {
            sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(weights, broadcast_pair(&wide[r][i])));
        }
    }
}

template <int row_count>
void rows_block(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
                const std::int8_t* x, std::int32_t* acc) {
    const std::size_t panel_size = linear_i8_layout.size(outputs, in);
    WideInputs wide;
    for (std::size_t i = 0; i < in; i += block_inputs) {
        const std::size_t count = in - i < block_inputs ? in - i : block_inputs;
        widen<row_count>(x + i, in, count, wide);
        for (std::size_t o = 0; o < out; o += outputs) {
            const std::size_t lanes = out - o < outputs ? out - o : outputs;
            __m256i sums[row_count];
            for (std::size_t r = 0; r < row_count; ++r) {
                sums[r] = load_lanes(i == 0 ? bias + o : acc + r * out + o, lanes);
            }
            panel_rows<row_count>(packed + o / outputs * panel_size + i * outputs, wide, count, sums);
            for (std::size_t r = 0; r < row_count; ++r) store_lanes(sums[r], acc + r * out + o, lanes);
        }
    }
}

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    std::size_t r = 0;
    for (; r + most_rows <= rows; r += most_rows) {
        rows_block<most_rows>(packed, bias, out, in, x + r * in, acc + r * out);
    }
    for (; r < rows; ++r) rows_block<1>(packed, bias, out, in, x + r * in, acc + r * out);
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
