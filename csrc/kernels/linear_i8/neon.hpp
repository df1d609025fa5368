// What the forms with NEON's registers have in common.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {
namespace {

// 24 sums, 4 vectors of weights, an input and a product are 30 of 32 registers.
struct IntegerSums {
    using Sum = int32x4_t;
    using Element = std::int8_t;
    static constexpr std::size_t lanes = 4, vectors = 4, rows = 6;

    // The lanes beyond are zero. No memcpy: sums that live across its call would lie in memory.
    static Sum load(const std::int32_t* at, std::size_t count) {
        if (count == lanes) return vld1q_s32(at);
        Sum sum = vdupq_n_s32(0);
        if (count > 0) sum = vld1q_lane_s32(at, sum, 0);
        if (count > 1) sum = vld1q_lane_s32(at + 1, sum, 1);
        if (count > 2) sum = vld1q_lane_s32(at + 2, sum, 2);
        return sum;
    }
    static void store(Sum sum, std::int32_t* to, std::size_t count) {
        if (count == lanes) return vst1q_s32(to, sum);
        if (count > 0) vst1q_lane_s32(to, sum, 0);
        if (count > 1) vst1q_lane_s32(to + 1, sum, 1);
        if (count > 2) vst1q_lane_s32(to + 2, sum, 2);
    }
    static Element element(std::int8_t x) { return x; }
};

}  // namespace
}  // namespace vaecomp::core
