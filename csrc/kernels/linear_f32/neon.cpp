#include <arm_neon.h>

#include "kernels/linear_f32/blocked.hpp"

namespace vaecomp::core::neon {
namespace {

struct Vector {
    using Lanes = float32x4_t;
    // 24 sums, 4 vectors of weights and an input are 29 of 32 registers.
    static constexpr std::size_t lanes = 4, vectors = 4, rows = 6;

    // The lanes beyond `count` are zero. No memcpy: sums that live across its call would lie in memory.
    static Lanes load(const float* at, std::size_t count) {
        if (count == lanes) return vld1q_f32(at);
        Lanes value = vdupq_n_f32(0);
        if (count > 0) value = vld1q_lane_f32(at, value, 0);
        if (count > 1) value = vld1q_lane_f32(at + 1, value, 1);
        if (count > 2) value = vld1q_lane_f32(at + 2, value, 2);
        return value;
    }
    static void store(Lanes value, float* to, std::size_t count) {
        if (count == lanes) return vst1q_f32(to, value);
        if (count > 0) vst1q_lane_f32(to, value, 0);
        if (count > 1) vst1q_lane_f32(to + 1, value, 1);
        if (count > 2) vst1q_lane_f32(to + 2, value, 2);
    }
    static Lanes broadcast(float x) { return vdupq_n_f32(x); }
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return vfmaq_f32(c, a, b); }
    static Lanes activate(Lanes acc, Activation activation) {
        // Not vmaxq_f32, which keeps a NaN.
        if (activation == Activation::relu) return vbslq_f32(vcgtq_f32(acc, vdupq_n_f32(0)), acc, vdupq_n_f32(0));
        return vbslq_f32(vceqq_f32(acc, acc), acc, vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000)));
    }
};

}  // namespace

void linear_f32(const float* packed, const float* bias, std::size_t out, std::size_t in, const float* x,
                std::size_t rows, Activation activation, float* y) {
    BlockedLinearF32<Vector>::run(packed, bias, out, in, x, rows, activation, y);
}

}  // namespace vaecomp::core::neon
