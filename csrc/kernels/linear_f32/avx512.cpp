#include <immintrin.h>

#include "kernels/linear_f32/blocked.hpp"

namespace vaecomp::core::avx512 {
namespace {

struct Vector {
    using Lanes = __m512;
    // 24 sums, 4 vectors of weights and an input are 29 of 32 registers.
    static constexpr std::size_t lanes = 16, vectors = 4, rows = 6;

    static __mmask16 first(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1); }
    // The lanes beyond `count` are zero.
    static Lanes load(const float* at, std::size_t count) {
        return count == lanes ? _mm512_loadu_ps(at) : _mm512_maskz_loadu_ps(first(count), at);
    }
    static void store(Lanes value, float* to, std::size_t count) { _mm512_mask_storeu_ps(to, first(count), value); }
    static Lanes broadcast(float x) { return _mm512_set1_ps(x); }
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a, b, c); }
    static Lanes activate(Lanes acc, Activation activation) {
        // vmaxps returns its second operand, +0, unless acc > 0.
        if (activation == Activation::relu) return _mm512_max_ps(acc, _mm512_setzero_ps());
        const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
        return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(acc, acc, _CMP_UNORD_Q), acc, nan);
    }
};

}  // namespace

void linear_f32(const float* packed, const float* bias, std::size_t out, std::size_t in, const float* x,
                std::size_t rows, Activation activation, float* y) {
    BlockedLinearF32<Vector>::run(packed, bias, out, in, x, rows, activation, y);
}

}  // namespace vaecomp::core::avx512
