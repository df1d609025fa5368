// Four Philox blocks at a time give 16 consecutive elements.
#include <arm_neon.h>

#include "kernels/noise/noise.hpp"

namespace vaecomp::core::neon {
namespace {

constexpr std::size_t lanes = 4, vectors = 4, elements_a_step = lanes * vectors;

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

// The words of blocks `block .. block + 3`, each block in a lane.
void philox(std::uint64_t block, std::uint64_t variant, std::uint64_t seed, uint32x4_t words[vectors]) {
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
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

// All ones where noise falls.
uint32x4_t is_noisy(const NoiseParameters& parameters, uint32x4_t word) {
    return vcltq_u32(vandq_u32(word, vdupq_n_u32(noise::number_mask)), vdupq_n_u32(parameters.threshold));
}

// The uniform number of a word, in (0, 1], whether its position is noisy or not.
float32x4_t uniform_number(const NoiseParameters& parameters, uint32x4_t word, uint32x4_t noisy) {
    const uint32x4_t k = vandq_u32(word, vdupq_n_u32(noise::number_mask));
    const uint32x4_t m = vsubq_u32(k, vbicq_u32(vdupq_n_u32(parameters.threshold), noisy));
    const float32x4_t scale = vbslq_f32(noisy, vdupq_n_f32(parameters.scale), vdupq_n_f32(parameters.quiet_scale));
    return vmulq_f32(vaddq_f32(vcvtq_f32_u32(m), vdupq_n_f32(0.5f)), scale);
}

template <std::size_t terms>
float32x4_t polynomial(const std::uint32_t (&bits)[terms], float32x4_t x) {
    float32x4_t sum = constant(bits[terms - 1]);
    for (std::size_t i = terms - 1; i-- > 0;) sum = vaddq_f32(vmulq_f32(sum, x), constant(bits[i]));
    return sum;
}

// sqrt(-2 ln t).
float32x4_t radius(float32x4_t t) {
    const uint32x4_t bits = vreinterpretq_u32_f32(t);
    const uint32x4_t exponent =
        vandq_u32(vsubq_u32(bits, vdupq_n_u32(noise::sqrt_half_bits)), vdupq_n_u32(noise::exponent_mask));
    const float32x4_t x = vsubq_f32(vreinterpretq_f32_u32(vsubq_u32(bits, exponent)), vdupq_n_f32(1.0f));
    const float32x4_t whole =
        vmulq_f32(vcvtq_f32_s32(vreinterpretq_s32_u32(exponent)), constant(noise::exponent_step_bits));
    return vsqrtq_f32(vaddq_f32(whole, vmulq_f32(polynomial(noise::log_bits, x), x)));
}

struct Direction {
    float32x4_t cosine, sine;
};

// Cosine and sine of t quarter turns.
Direction direction(float32x4_t t) {
    const float32x4_t y = vsubq_f32(t, vdupq_n_f32(0.5f)), square = vmulq_f32(y, y);
    const float32x4_t cosine = polynomial(noise::cosine_bits, square);
    const float32x4_t sine = vmulq_f32(polynomial(noise::sine_bits, square), y);
    return {vsubq_f32(cosine, sine), vaddq_f32(cosine, sine)};
}

// The noise with the word's sign. Where no noise falls it is -0, which changes nothing.
float32x4_t signed_noise(uint32x4_t word, uint32x4_t noisy, float32x4_t magnitude) {
    const uint32x4_t sign = vdupq_n_u32(noise::sign_mask);
    const uint32x4_t noise = veorq_u32(vreinterpretq_u32_f32(magnitude), vandq_u32(word, sign));
    return vreinterpretq_f32_u32(vbslq_u32(noisy, noise, sign));
}

// What is added at the words' positions.
void noise_of_words(const NoiseParameters& parameters, const uint32x4_t words[vectors], const uint32x4_t noisy[vectors],
                    float32x4_t noise[vectors]) {
    for (std::size_t v = 0; v < vectors; v += 2) {
        const float32x4_t length =
            vmulq_n_f32(radius(uniform_number(parameters, words[v], noisy[v])), parameters.sigma);
        const auto [cosine, sine] = direction(uniform_number(parameters, words[v + 1], noisy[v + 1]));
        noise[v] = signed_noise(words[v], noisy[v], vmulq_f32(length, cosine));
        noise[v + 1] = signed_noise(words[v + 1], noisy[v + 1], vmulq_f32(length, sine));
    }
}

// To element order.
void transpose(float32x4_t noise[vectors]) {
    const float64x2_t ab_low = vreinterpretq_f64_f32(vzip1q_f32(noise[0], noise[1]));
    const float64x2_t ab_high = vreinterpretq_f64_f32(vzip2q_f32(noise[0], noise[1]));
    const float64x2_t cd_low = vreinterpretq_f64_f32(vzip1q_f32(noise[2], noise[3]));
    const float64x2_t cd_high = vreinterpretq_f64_f32(vzip2q_f32(noise[2], noise[3]));
    noise[0] = vreinterpretq_f32_f64(vzip1q_f64(ab_low, cd_low));
    noise[1] = vreinterpretq_f32_f64(vzip2q_f64(ab_low, cd_low));
    noise[2] = vreinterpretq_f32_f64(vzip1q_f64(ab_high, cd_high));
    noise[3] = vreinterpretq_f32_f64(vzip2q_f64(ab_high, cd_high));
}

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    // Up to the first index that begins a Philox block.
    std::size_t j = static_cast<std::size_t>((0 - first_index) & 3);
    if (j > count) j = count;
    scalar::noise_run(parameters, variant, first_index, base, out, j);
    const NoiseParameters own = parameters;  // which no store to `out` can change
    for (; j + elements_a_step <= count; j += elements_a_step) {
        uint32x4_t words[vectors], noisy[vectors];
        philox((first_index + j) >> 2, variant, own.seed, words);
        for (std::size_t v = 0; v < vectors; ++v) noisy[v] = is_noisy(own, words[v]);
        const uint32x4_t any = vorrq_u32(vorrq_u32(noisy[0], noisy[1]), vorrq_u32(noisy[2], noisy[3]));
        float32x4_t noise[vectors];
        for (float32x4_t& vector : noise) vector = constant(noise::sign_mask);
        // Sparse noise spares most steps all but the words.
        if (vmaxvq_u32(any) != 0) {
            noise_of_words(own, words, noisy, noise);
            transpose(noise);
        }
        for (std::size_t v = 0; v < vectors; ++v) {
            vst1q_f32(out + j + lanes * v, vaddq_f32(vld1q_f32(base + j + lanes * v), noise[v]));
        }
    }
    scalar::noise_run(parameters, variant, first_index + j, base + j, out + j, count - j);
}

}  // namespace vaecomp::core::neon
