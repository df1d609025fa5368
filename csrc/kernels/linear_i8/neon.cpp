// vmull_s8 and vpadalq_s16: products are exact in 16 bits, pair sums in 32, nothing saturates.
#include "kernels/linear_i8/neon.hpp"

#include <arm_neon.h>
#include <string.h>

#include "kernels/linear_i8/blocked.hpp"

namespace vaecomp::core::neon {
namespace {

struct Vector : IntegerSums {
    using Weights = int8x8_t;
    using Inputs = int8x8_t;
    static constexpr std::size_t inputs = 2;

    static Weights weights(const std::int8_t* at) { return vld1_s8(at); }
    static Inputs broadcast(const Element* pair) {
        std::int16_t bits;
        memcpy(&bits, pair, sizeof(bits));
        return vreinterpret_s8_s16(vdup_n_s16(bits));
    }
    static Sum multiply_add(Sum sum, Weights weights, Inputs input) {
        return vpadalq_s16(sum, vmull_s8(weights, input));
    }
};

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    BlockedLinearI8<Vector>::run(packed, bias, out, in, x, rows, acc);
}

void requantize(const std::int32_t* acc, std::size_t rows, std::size_t out, const std::int32_t* multiplier,
                const std::uint8_t* shift, std::int8_t* y) {
    for (std::size_t r = 0; r < rows; ++r) {
        std::size_t o = 0;
        for (; o + 4 <= out; o += 4) {
            const int32x4_t sums = vld1q_s32(acc + r * out + o), factors = vld1q_s32(multiplier + o);
            // Shifts to the left by negative counts round as the definition does.
            const std::int64_t by[4] = {-shift[o], -shift[o + 1], -shift[o + 2], -shift[o + 3]};
            const int64x2_t low = vmull_s32(vget_low_s32(sums), vget_low_s32(factors));
            const int64x2_t high = vmull_high_s32(sums, factors);
            // Narrowing to unsigned words gives 0 for what is negative.
            const uint32x2_t narrow_low = vqmovun_s64(vrshlq_s64(low, vld1q_s64(by)));
            const uint32x2_t narrow_high = vqmovun_s64(vrshlq_s64(high, vld1q_s64(by + 2)));
            const uint32x4_t clamped = vminq_u32(vcombine_u32(narrow_low, narrow_high), vdupq_n_u32(127));
            std::uint32_t values[4];
            vst1q_u32(values, clamped);
            for (std::size_t i = 0; i < 4; ++i) y[r * out + o + i] = static_cast<std::int8_t>(values[i]);
        }
        scalar::requantize(acc + r * out + o, 1, out - o, multiplier + o, shift + o, y + r * out + o);
    }
}

void scale_output(const std::int32_t* acc, std::size_t rows, std::size_t out, const float* scale, float* y) {
    for (std::size_t r = 0; r < rows; ++r) {
        std::size_t o = 0;
        for (; o + 4 <= out; o += 4) {
            const float32x4_t sums = vcvtq_f32_s32(vld1q_s32(acc + r * out + o));
            vst1q_f32(y + r * out + o, vmulq_f32(sums, vld1q_f32(scale + o)));
        }
        scalar::scale_output(acc + r * out + o, 1, out - o, scale + o, y + r * out + o);
    }
}

}  // namespace vaecomp::core::neon
