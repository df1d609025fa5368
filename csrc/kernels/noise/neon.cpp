// Four Philox counters at a time give 16 consecutive elements.
#include <arm_neon.h>

#include "kernels/noise/noise.hpp"

namespace vaecomp::neon {
namespace {

constexpr std::size_t elements_a_step = 16, lanes = 4;

float32x4_t constant(std::uint32_t bits) { return vreinterpretq_f32_u32(vdupq_n_u32(bits)); }

// Low and high halves of four 64-bit numbers, in order.
uint32x4_t low_halves(uint64x2_t first, uint64x2_t last) {
    return vuzp1q_u32(vreinterpretq_u32_u64(first), vreinterpretq_u32_u64(last));
}
uint32x4_t high_halves(uint64x2_t first, uint64x2_t last) {
    return vuzp2q_u32(vreinterpretq_u32_u64(first), vreinterpretq_u32_u64(last));
}

struct Product {
    uint32x4_t low, high;
};

// 32 x 32 -> 64 bits in each of four lanes.
Product multiply(uint32x4_t a, std::uint32_t b) {
    const uint64x2_t first = vmull_n_u32(vget_low_u32(a), b), last = vmull_high_n_u32(a, b);
    return {low_halves(first, last), high_halves(first, last)};
}

// Words of blocks `block .. block + 3` as four vectors of four consecutive elements.
void philox(std::uint64_t block, std::uint64_t variant, std::uint64_t seed, uint32x4_t words[4]) {
    const uint64x2_t first = vcombine_u64(vcreate_u64(block), vcreate_u64(block + 1));
    const uint64x2_t last = vaddq_u64(first, vdupq_n_u64(2));
    uint32x4_t c0 = low_halves(first, last), c1 = high_halves(first, last);
    uint32x4_t c2 = vdupq_n_u32(static_cast<std::uint32_t>(variant));
    uint32x4_t c3 = vdupq_n_u32(static_cast<std::uint32_t>(variant >> 32));
    auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int i = 0; i < noise::philox_rounds; ++i, k0 += noise::philox_weyl_0, k1 += noise::philox_weyl_1) {
        const Product p0 = multiply(c0, noise::philox_multiplier_0), p1 = multiply(c2, noise::philox_multiplier_1);
        c0 = veorq_u32(veorq_u32(p1.high, c1), vdupq_n_u32(k0));
        c2 = veorq_u32(veorq_u32(p0.high, c3), vdupq_n_u32(k1));
        c1 = p1.low;
        c3 = p0.low;
    }
    // Lane b of c0..c3 holds block b's four words; transpose to element order.
    const uint64x2_t ab_low = vreinterpretq_u64_u32(vzip1q_u32(c0, c1));
    const uint64x2_t ab_high = vreinterpretq_u64_u32(vzip2q_u32(c0, c1));
    const uint64x2_t cd_low = vreinterpretq_u64_u32(vzip1q_u32(c2, c3));
    const uint64x2_t cd_high = vreinterpretq_u64_u32(vzip2q_u32(c2, c3));
    words[0] = vreinterpretq_u32_u64(vzip1q_u64(ab_low, cd_low));
    words[1] = vreinterpretq_u32_u64(vzip2q_u64(ab_low, cd_low));
    words[2] = vreinterpretq_u32_u64(vzip1q_u64(ab_high, cd_high));
    words[3] = vreinterpretq_u32_u64(vzip2q_u64(ab_high, cd_high));
}

float32x4_t normal_deviate(uint32x4_t word, float32x4_t inverse_threshold) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t k = vcvtq_f32_u32(vshrq_n_u32(word, 1));
    const float32x4_t t = vmulq_f32(vaddq_f32(k, vdupq_n_f32(0.5f)), inverse_threshold);
    const float32x4_t q = vmulq_f32(t, vsubq_f32(vdupq_n_f32(2.0f), t));
    const uint32x4_t bits = vreinterpretq_u32_f32(q);
    const int32x4_t e = vshrq_n_s32(vreinterpretq_s32_u32(vsubq_u32(bits, vdupq_n_u32(noise::sqrt_half_bits))), 23);
    const uint32x4_t fraction = vsubq_u32(bits, vshlq_n_u32(vreinterpretq_u32_s32(e), 23));
    const float32x4_t x = vsubq_f32(vreinterpretq_f32_u32(fraction), one);
    float32x4_t log = vmulq_f32(constant(noise::log_bits[6]), x);
    for (int i = 5; i >= 0; --i) log = vmulq_f32(vaddq_f32(log, constant(noise::log_bits[i])), x);
    const float32x4_t w = vnegq_f32(vaddq_f32(vmulq_f32(vcvtq_f32_s32(e), constant(noise::ln2_bits)), log));
    const float32x4_t shifted = vaddq_f32(vmaxq_f32(w, vdupq_n_f32(0.0f)), vdupq_n_f32(4.0f));
    const float32x4_t h = vsubq_f32(vsqrtq_f32(shifted), vdupq_n_f32(3.5f));
    float32x4_t p = constant(noise::quantile_bits[10]);
    for (int i = 9; i >= 0; --i) p = vaddq_f32(vmulq_f32(p, h), constant(noise::quantile_bits[i]));
    const float32x4_t y = vmulq_f32(p, vsubq_f32(one, t));
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(y), vshlq_n_u32(word, 31)));
}

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    // Up to the first index that begins a Philox block.
    std::size_t j = static_cast<std::size_t>((0 - first_index) & 3);
    if (j > count) j = count;
    scalar::noise_run(parameters, variant, first_index, base, out, j);
    const float32x4_t inverse_threshold = vdupq_n_f32(parameters.inverse_threshold);
    const float32x4_t sigma = vdupq_n_f32(parameters.sigma);
    const uint32x4_t threshold = vdupq_n_u32(parameters.threshold);
    for (; j + elements_a_step <= count; j += elements_a_step) {
        uint32x4_t words[4];
        philox((first_index + j) >> 2, variant, parameters.seed, words);
        for (std::size_t i = 0; i < 4; ++i) {
            float32x4_t value = vld1q_f32(base + j + lanes * i);
            const uint32x4_t noisy = vcltq_u32(vshrq_n_u32(words[i], 1), threshold);
            if (vmaxvq_u32(noisy) != 0) {
                const float32x4_t deviate = normal_deviate(words[i], inverse_threshold);
                value = vbslq_f32(noisy, vaddq_f32(value, vmulq_f32(sigma, deviate)), value);
            }
            vst1q_f32(out + j + lanes * i, value);
        }
    }
    scalar::noise_run(parameters, variant, first_index + j, base + j, out + j, count - j);
}

}  // namespace vaecomp::neon
