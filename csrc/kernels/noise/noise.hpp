// Gaussian noise at random positions (docs/kernels.md, 2).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

struct NoiseParameters {
    std::uint64_t seed;
    std::uint32_t threshold;   // T: a position is noisy if its 31-bit number is below
    float scale, quiet_scale;  // s of a number below T, and of the others
    float sigma;
};

NoiseParameters noise_parameters(std::uint64_t seed, std::uint32_t threshold, float sigma);

// One variant's elements [first_index, first_index + count): out[j] = base[j], with noise where it falls.
using NoiseRun = void(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index,
                      const float* base, float* out, std::size_t count);

namespace noise {
// float32 bits of the polynomials: a0..a5 of -2 ln(1 + x) / x, and with powers of y * y
// c0..c3 of cosine and b0..b3 of sine.
inline constexpr std::uint32_t log_bits[6] = {0xc0000026, 0x3f7ff32d, 0xbf2a47f2, 0x3f021099, 0xbee1daad, 0x3e925a19};
inline constexpr std::uint32_t cosine_bits[4] = {0x3f3504f3, 0xbf5f52b1, 0x3e37a002, 0xbc6c6f73};
inline constexpr std::uint32_t sine_bits[4] = {0x3f8e2c19, 0xbee9dd13, 0x3d66c41d, 0xbb54cf94};
// -2 ln 2 for one in a float's exponent field, that field (with the sign), and the square root of 1/2.
inline constexpr std::uint32_t exponent_step_bits = 0xb4317218, exponent_mask = 0xff800000, sqrt_half_bits = 0x3f3504f3;
inline constexpr std::uint32_t number_mask = 0x7fffffff, sign_mask = 0x80000000;  // of a random word
inline constexpr std::uint32_t philox_multiplier_0 = 0xd2511f53, philox_multiplier_1 = 0xcd9e8d57;
inline constexpr std::uint32_t philox_weyl_0 = 0x9e3779b9, philox_weyl_1 = 0xbb67ae85;
inline constexpr int philox_rounds = 7;
}  // namespace noise

namespace scalar {
NoiseRun noise_run;
}
namespace avx2 {
NoiseRun noise_run;
}
namespace avx512 {
NoiseRun noise_run;
}
namespace neon {
NoiseRun noise_run;
}

}  // namespace vaecomp::core
