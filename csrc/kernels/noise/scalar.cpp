#include <array>
#include <bit>
#include <cmath>

#include "kernels/noise/noise.hpp"

namespace vaecomp::scalar {
namespace {

std::array<std::uint32_t, 4> philox(std::uint64_t block, std::uint64_t variant, std::uint64_t seed) {
    std::array<std::uint32_t, 4> c = {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
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

float normal_deviate(std::uint32_t word, float inverse_threshold) {
    const float t = (static_cast<float>(static_cast<std::int32_t>(word >> 1)) + 0.5f) * inverse_threshold;
    const float q = t * (2.0f - t);
    const auto bits = std::bit_cast<std::uint32_t>(q);
    const std::int32_t e = static_cast<std::int32_t>(bits - noise::sqrt_half_bits) >> 23;
    const float x = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(e) << 23)) - 1.0f;
    float log = std::bit_cast<float>(noise::log_bits[6]) * x;
    for (int i = 5; i >= 0; --i) log = (log + std::bit_cast<float>(noise::log_bits[i])) * x;
    const float w = -(static_cast<float>(e) * std::bit_cast<float>(noise::ln2_bits) + log);
    const float h = std::sqrt((w > 0.0f ? w : 0.0f) + 4.0f) - 3.5f;
    float p = std::bit_cast<float>(noise::quantile_bits[10]);
    for (int i = 9; i >= 0; --i) p = p * h + std::bit_cast<float>(noise::quantile_bits[i]);
    const float y = p * (1.0f - t);
    return word & 1 ? -y : y;
}

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    std::array<std::uint32_t, 4> words{};
    for (std::size_t j = 0; j < count; ++j) {
        const std::uint64_t index = first_index + j;
        if (j == 0 || (index & 3) == 0) words = philox(index >> 2, variant, parameters.seed);
        const std::uint32_t word = words[index & 3];
        out[j] = word >> 1 < parameters.threshold
                     ? base[j] + parameters.sigma * normal_deviate(word, parameters.inverse_threshold)
                     : base[j];
    }
}

}  // namespace vaecomp::scalar
