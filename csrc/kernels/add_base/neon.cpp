#include <arm_neon.h>

#include "kernels/add_base/add_base.hpp"

namespace vaecomp::core::neon {
namespace {

constexpr std::size_t lanes = 4;

}  // namespace

void add_base(const float* base, const float* values, std::size_t count, std::uint8_t* sums) {
    const uint32x4_t canonical = vdupq_n_u32(0x7fc00000);
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) {
        const float32x4_t sum = vaddq_f32(vld1q_f32(base + i), vld1q_f32(values + i));
        const uint32x4_t bits = vbslq_u32(vceqq_f32(sum, sum), vreinterpretq_u32_f32(sum), canonical);
        vst1q_u8(sums + i * sizeof(float), vreinterpretq_u8_u32(bits));
    }
    scalar::add_base(base + i, values + i, count - i, sums + i * sizeof(float));
}

}  // namespace vaecomp::core::neon
