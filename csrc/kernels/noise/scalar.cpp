#include <array>
#include <bit>
#include <cmath>

#include "kernels/noise/noise.hpp"

namespace vaecomp::core::scalar {
namespace {

using Words = std::array<std::uint32_t, 4>;

Words philox(std::uint64_t block, std::uint64_t variant, std::uint64_t seed) {
    Words c = {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
               static_cast<std::uint32_t>(variant), static_cast<std::uint32_t>(variant >> 32)};
    auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int i = 0; i < noise::philox_rounds; ++i, k0 += noise::philox_weyl_0, k1 += noise::philox_weyl_1) {
        const std::uint64_t p0 = std::uint64_t{noise::philox_multiplier_0} * c[0];
        const std::uint64_t p1 = std::uint64_t{noise::philox_multiplier_1} * c[2];
        c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
             static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    }
    return c;
}

bool is_noisy(const NoiseParameters& parameters, std::uint32_t word) {
    return (word & noise::number_mask) < parameters.threshold;
}

// The uniform number of a word, in (0, 1], whether its position is noisy or not.
float uniform_number(const NoiseParameters& parameters, std::uint32_t word) {
    const std::uint32_t k = word & noise::number_mask;
    const bool noisy = is_noisy(parameters, word);
    const auto m = static_cast<std::int32_t>(noisy ? k : k - parameters.threshold);
    return (static_cast<float>(m) + 0.5f) * (noisy ? parameters.scale : parameters.quiet_scale);
}

template <std::size_t terms>
float polynomial(const std::uint32_t (&bits)[terms], float x) {
    float sum = std::bit_cast<float>(bits[terms - 1]);
    for (std::size_t i = terms - 1; i-- > 0;) sum = sum * x + std::bit_cast<float>(bits[i]);
    return sum;
}

// sqrt(-2 ln t).
float radius(float t) {
    const auto bits = std::bit_cast<std::uint32_t>(t);
    const std::uint32_t exponent = (bits - noise::sqrt_half_bits) & noise::exponent_mask;
    const float x = std::bit_cast<float>(bits - exponent) - 1.0f;
    const float whole = static_cast<float>(static_cast<std::int32_t>(exponent));
    return std::sqrt(whole * std::bit_cast<float>(noise::exponent_step_bits) + polynomial(noise::log_bits, x) * x);
}

struct Direction {
    float cosine, sine;
};

// Cosine and sine of t quarter turns.
Direction direction(float t) {
    const float y = t - 0.5f, square = y * y;
    const float cosine = polynomial(noise::cosine_bits, square), sine = polynomial(noise::sine_bits, square) * y;
    return {cosine - sine, cosine + sine};
}

// What is added at the position of `word`: -0, which changes nothing, where no noise falls.
float signed_noise(const NoiseParameters& parameters, std::uint32_t word, float magnitude) {
    if (!is_noisy(parameters, word)) return -0.0f;
    return word & noise::sign_mask ? -magnitude : magnitude;
}

std::array<float, 4> noise_of_block(const NoiseParameters& parameters, const Words& words) {
    std::array<float, 4> noise{};
    for (std::size_t i = 0; i < words.size(); i += 2) {
        const float length = parameters.sigma * radius(uniform_number(parameters, words[i]));
        const auto [cosine, sine] = direction(uniform_number(parameters, words[i + 1]));
        noise[i] = signed_noise(parameters, words[i], length * cosine);
        noise[i + 1] = signed_noise(parameters, words[i + 1], length * sine);
    }
    return noise;
}

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    std::array<float, 4> noise{};
    for (std::size_t j = 0; j < count; ++j) {
        const std::uint64_t index = first_index + j;
        if (j == 0 || (index & 3) == 0)
            noise = noise_of_block(parameters, philox(index >> 2, variant, parameters.seed));
        out[j] = base[j] + noise[index & 3];
    }
}

}  // namespace vaecomp::core::scalar
