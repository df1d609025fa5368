// vdotq_s32: four products of signed bytes, exact, added to a sum modulo 2^32.
#include <arm_neon.h>
#include <string.h>

#include "kernels/linear_i8/blocked.hpp"
#include "kernels/linear_i8/neon.hpp"

namespace vaecomp::core::neondot {
namespace {

struct Vector : IntegerSums {
    using Weights = int8x16_t;
    using Inputs = int8x8_t;
    static constexpr std::size_t inputs = 4;

    static Weights weights(const std::int8_t* at) { return vld1q_s8(at); }
    static Inputs broadcast(const Element* four) {
        std::uint32_t bits;  // a scalar load, because the product takes one lane for all
        memcpy(&bits, four, sizeof(bits));
        return vcreate_s8(bits);
    }
    static Sum multiply_add(Sum sum, Weights weights, Inputs input) { return vdotq_lane_s32(sum, weights, input, 0); }
};

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    BlockedLinearI8<Vector>::run(packed, bias, out, in, x, rows, acc);
}

}  // namespace vaecomp::core::neondot
