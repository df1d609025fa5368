// The processor's conversions, and integer forms of those with bfloat16. NaN follows docs/kernels.md: widening keeps
// the payload and quiets (as the instructions do), narrowing gives the canonical NaN.
#include <arm_neon.h>

#include "kernels/chunk/convert.hpp"

namespace vaecomp::core::neon {
namespace {

// Elements lie at any alignment, so that they are loaded and stored as bytes.
uint16x4_t load_words(const std::uint8_t* from) { return vreinterpret_u16_u8(vld1_u8(from)); }
void store_words(std::uint8_t* to, uint16x4_t words) { vst1_u8(to, vreinterpret_u8_u16(words)); }

}  // namespace

void from_f16(const std::uint8_t* from, float* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u16(load_words(from + 2 * i))));
    }
    scalar::from_f16(from + 2 * i, to + i, count - i);
}

void from_bf16(const std::uint8_t* from, float* to, std::size_t count) {
    const uint32x4_t quiet = vdupq_n_u32(0x00400000);
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const uint32x4_t bits = vshll_n_u16(load_words(from + 2 * i), 16);
        const float32x4_t value = vreinterpretq_f32_u32(bits);
        const uint32x4_t number = vceqq_f32(value, value);
        vst1q_f32(to + i, vreinterpretq_f32_u32(vorrq_u32(bits, vbicq_u32(quiet, number))));
    }
    scalar::from_bf16(from + 2 * i, to + i, count - i);
}

void from_f64(const std::uint8_t* from, float* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float64x2_t low = vreinterpretq_f64_u8(vld1q_u8(from + 8 * i));
        const float64x2_t high = vreinterpretq_f64_u8(vld1q_u8(from + 8 * i + 16));
        vst1q_f32(to + i, vcvt_high_f32_f64(vcvt_f32_f64(low), high));
    }
    scalar::from_f64(from + 8 * i, to + i, count - i);
}

void to_f16(const float* from, std::uint8_t* to, std::size_t count) {
    const uint16x4_t quiet_nan = vdup_n_u16(0x7e00), sign = vdup_n_u16(0x8000);
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float32x4_t value = vld1q_f32(from + i);
        const uint16x4_t half = vreinterpret_u16_f16(vcvt_f16_f32(value));
        // Of a NaN's bits only the sign stays.
        const uint16x4_t nan = vbsl_u16(sign, half, quiet_nan);
        store_words(to + 2 * i, vbsl_u16(vmovn_u32(vceqq_f32(value, value)), half, nan));
    }
    scalar::to_f16(from + i, to + 2 * i, count - i);
}

void to_bf16(const float* from, std::uint8_t* to, std::size_t count) {
    const uint16x4_t quiet_nan = vdup_n_u16(0x7fc0), sign = vdup_n_u16(0x8000);
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float32x4_t value = vld1q_f32(from + i);
        const uint32x4_t bits = vreinterpretq_u32_f32(value);
        const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const uint16x4_t half = vaddhn_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        const uint16x4_t nan = vbsl_u16(sign, vshrn_n_u32(bits, 16), quiet_nan);
        store_words(to + 2 * i, vbsl_u16(vmovn_u32(vceqq_f32(value, value)), half, nan));
    }
    scalar::to_bf16(from + i, to + 2 * i, count - i);
}

void to_f64(const float* from, std::uint8_t* to, std::size_t count) {
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float32x4_t value = vld1q_f32(from + i);
        vst1q_u8(to + 8 * i, vreinterpretq_u8_f64(vcvt_f64_f32(vget_low_f32(value))));
        vst1q_u8(to + 8 * i + 16, vreinterpretq_u8_f64(vcvt_high_f64_f32(value)));
    }
    scalar::to_f64(from + i, to + 8 * i, count - i);
}

}  // namespace vaecomp::core::neon
