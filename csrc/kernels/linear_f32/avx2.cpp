#include <immintrin.h>

#include "kernels/linear_f32/linear_f32.hpp"

namespace vaecomp::avx2 {
namespace {

constexpr std::size_t lanes = 8;

__m256 activate(__m256 acc, Activation activation) {
    // vmaxps returns its second operand, +0, unless acc > 0.
    if (activation == Activation::relu) return _mm256_max_ps(acc, _mm256_setzero_ps());
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return _mm256_blendv_ps(acc, nan, _mm256_cmp_ps(acc, acc, _CMP_UNORD_Q));
}

// `row_count` rows times `vectors` vectors of outputs.
template <int row_count, int vectors>
void tile(const float* weights, const float* bias, std::size_t out, std::size_t in, const float* x,
          Activation activation, float* y) {
    __m256 acc[row_count][vectors];
    for (int r = 0; r < row_count; ++r) {
        for (int v = 0; v < vectors; ++v) acc[r][v] = _mm256_loadu_ps(bias + static_cast<std::size_t>(v) * lanes);
    }
    for (std::size_t i = 0; i < in; ++i, weights += out) {
        for (int v = 0; v < vectors; ++v) {
            const __m256 w = _mm256_loadu_ps(weights + static_cast<std::size_t>(v) * lanes);
            for (int r = 0; r < row_count; ++r) {
                acc[r][v] = _mm256_fmadd_ps(w, _mm256_set1_ps(x[static_cast<std::size_t>(r) * in + i]), acc[r][v]);
            }
        }
    }
    for (int r = 0; r < row_count; ++r) {
        for (int v = 0; v < vectors; ++v) {
            const std::size_t at = static_cast<std::size_t>(r) * out + static_cast<std::size_t>(v) * lanes;
            _mm256_storeu_ps(y + at, activate(acc[r][v], activation));
        }
    }
}

template <int row_count>
void rows_block(const float* weights, const float* bias, std::size_t out, std::size_t in, const float* x,
                Activation activation, float* y) {
    std::size_t o = 0;
    for (; o + 2 * lanes <= out; o += 2 * lanes) {
        tile<row_count, 2>(weights + o, bias + o, out, in, x, activation, y + o);
    }
    for (; o + lanes <= out; o += lanes) tile<row_count, 1>(weights + o, bias + o, out, in, x, activation, y + o);
    // The last outputs: one chain each, with the scalar fused multiply-add.
    for (; o < out; ++o) {
        for (int r = 0; r < row_count; ++r) {
            __m128 acc = _mm_load_ss(bias + o);
            for (std::size_t i = 0; i < in; ++i) {
                const __m128 value = _mm_load_ss(x + static_cast<std::size_t>(r) * in + i);
                acc = _mm_fmadd_ss(_mm_load_ss(weights + i * out + o), value, acc);
            }
            const __m256 result = activate(_mm256_castps128_ps256(acc), activation);
            _mm_store_ss(y + static_cast<std::size_t>(r) * out + o, _mm256_castps256_ps128(result));
        }
    }
}

}  // namespace

void linear_f32(const float* transposed, const float* bias, std::size_t out, std::size_t in, const float* x,
                std::size_t rows, Activation activation, float* y) {
    std::size_t r = 0;
    for (; r + 4 <= rows; r += 4) rows_block<4>(transposed, bias, out, in, x + r * in, activation, y + r * out);
    for (; r < rows; ++r) rows_block<1>(transposed, bias, out, in, x + r * in, activation, y + r * out);
}

}  // namespace vaecomp::avx2
