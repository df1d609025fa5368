// Gaussian noise at random positions (docs/kernels.md, 2).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp {

struct NoiseParameters {
    std::uint64_t seed;
    std::uint32_t threshold;  // T: a position is noisy if its 31-bit number is below
    float inverse_threshold;  // s
    float sigma;
};

// One variant's elements [first_index, first_index + count): out[j] = base[j], with noise where it falls.
using NoiseRun = void(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index,
                      const float* base, float* out, std::size_t count);

namespace noise {
// float32 bits of the polynomials a1..a7 (ln(1 + x)) and c0..c10 (normal quantile).
inline constexpr std::uint32_t log_bits[7] = {0x3f80001b, 0xbf00014a, 0x3eaa834b, 0xbe7ec8e4,
                                              0x3e52fdfd, 0xbe418edf, 0x3df23abb};
inline constexpr std::uint32_t quantile_bits[11] = {0x4074d88c, 0x3fdc48e0, 0xbdba944e, 0x3caab7f9,
                                                    0x3bef250c, 0xbcc44d48, 0x3c931711, 0x3a9d5606,
                                                    0xbba7551f, 0x39c1631a, 0x39f0d1ba};
inline constexpr std::uint32_t ln2_bits = 0x3f317218, sqrt_half_bits = 0x3f3504f3;
inline constexpr std::uint32_t philox_multiplier_0 = 0xd2511f53, philox_multiplier_1 = 0xcd9e8d57;
inline constexpr std::uint32_t philox_weyl_0 = 0x9e3779b9, philox_weyl_1 = 0xbb67ae85;
inline constexpr int philox_rounds = 10;
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

}  // namespace vaecomp
