// What the forms with 512-bit registers have in common.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {
namespace {

// 24 sums, 4 vectors of weights, an input and a product are 30 of 32 registers.
struct IntegerSums {
    using Sum = __m512i;
    static constexpr std::size_t lanes = 16, vectors = 4, rows = 6;

    static __mmask16 first(std::size_t count) { return static_cast<__mmask16>((1u << count) - 1); }
    // The lanes beyond are zero.
    static Sum load(const std::int32_t* at, std::size_t count) { return _mm512_maskz_loadu_epi32(first(count), at); }
    static void store(Sum sum, std::int32_t* to, std::size_t count) { _mm512_mask_storeu_epi32(to, first(count), sum); }
};

}  // namespace
}  // namespace vaecomp::core
