// Scales come from two numbers instead of a table: the scale of exponent 2 k + parity is the scale of `parity` with k
// added to its exponent bits.
#include <arm_neon.h>

#include "kernels/dequantize/dequantize.hpp"

namespace vaecomp::core::neon {
namespace {

constexpr std::size_t lanes = 4;

int32x4_t bits_of(const float* scale) { return vreinterpretq_s32_f32(vld1q_dup_f32(scale)); }

}  // namespace

void dequantize(const std::int32_t* symbols, const Scales& scales, std::int32_t row, const std::int16_t* columns,
                std::size_t count, float* out) {
    const int32x4_t even = bits_of(scales.of), odd = scales.count > 1 ? bits_of(scales.of + 1) : even;
    const int32x4_t first = vdupq_n_s32(row), one = vdupq_n_s32(1);
    std::size_t j = 0;
    for (; j + lanes <= count; j += lanes) {
        const int32x4_t exponents = columns == nullptr ? first : vaddw_s16(first, vld1_s16(columns + j));
        const int32x4_t start = vbslq_s32(vtstq_s32(exponents, one), odd, even);
        const int32x4_t bits = vaddq_s32(start, vshlq_n_s32(vshrq_n_s32(exponents, 1), 23));
        const float32x4_t levels = vcvtq_f32_s32(vld1q_s32(symbols + j));
        vst1q_f32(out + j, vmulq_f32(levels, vreinterpretq_f32_s32(bits)));
    }
    scalar::dequantize(symbols + j, scales, row, columns == nullptr ? nullptr : columns + j, count - j, out + j);
}

}  // namespace vaecomp::core::neon
