#include <immintrin.h>
#include <string.h>

#include "kernels/linear_f32/blocked.hpp"

namespace vaecomp::core::avx2 {
namespace {

struct Vector {
    using Lanes = __m256;
    // 12 sums, 2 vectors of weights and an input are 15 of 16 registers.
    static constexpr std::size_t lanes = 8, vectors = 2, rows = 6;

    // The lanes beyond `count` are zero.
    static Lanes load(const float* at, std::size_t count) {
        if (count == lanes) return _mm256_loadu_ps(at);
        alignas(32) float all[lanes] = {};
        memcpy(all, at, count * sizeof(float));
        return _mm256_load_ps(all);
    }
    static void store(Lanes value, float* to, std::size_t count) {
        if (count == lanes) return _mm256_storeu_ps(to, value);
        alignas(32) float all[lanes];
        _mm256_store_ps(all, value);
        memcpy(to, all, count * sizeof(float));
    }
    static Lanes broadcast(float x) { return _mm256_set1_ps(x); }
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return _mm256_fmadd_ps(a, b, c); }
    static Lanes activate(Lanes acc, Activation activation) {
        // vmaxps returns its second operand, +0, unless acc > 0.
        if (activation == Activation::relu) return _mm256_max_ps(acc, _mm256_setzero_ps());
        const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
        return _mm256_blendv_ps(acc, nan, _mm256_cmp_ps(acc, acc, _CMP_UNORD_Q));
    }
};

}  // namespace

void linear_f32(const float* packed, const float* bias, std::size_t out, std::size_t in, const float* x,
                std::size_t rows, Activation activation, float* y) {
    BlockedLinearF32<Vector>::run(packed, bias, out, in, x, rows, activation, y);
}

}  // namespace vaecomp::core::avx2
