// The integer decoder's operations (docs/kernels.md, 3). A batch is `rows` chunks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_layout.hpp"

namespace vaecomp::core {

// How a form wants its weights. Inputs are multiplied as x + input_offset. The packed biases make up for the offset.
struct LinearI8Layout {
    PackedLayout weights;
    std::int32_t input_offset;
};

// acc[rows, out] = bias + W x, modulo 2^32; x is int8 [rows, in].
using LinearI8 = void(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
                      const std::int8_t* x, std::size_t rows, std::int32_t* acc);

// y[rows, out] = clamp(round_shift(acc * multiplier, shift), 0, 127).
using Requantize = void(const std::int32_t* acc, std::size_t rows, std::size_t out, const std::int32_t* multiplier,
                        const std::uint8_t* shift, std::int8_t* y);

// y[rows, out] = float(acc) * scale.
using ScaleOutput = void(const std::int32_t* acc, std::size_t rows, std::size_t out, const float* scale, float* y);

namespace scalar {
inline constexpr LinearI8Layout linear_i8_layout{{1, 1}, 0};
LinearI8 linear_i8;
Requantize requantize;
ScaleOutput scale_output;
}  // namespace scalar
namespace avx2 {
inline constexpr LinearI8Layout linear_i8_layout{{16, 2}, 0};
LinearI8 linear_i8;
Requantize requantize;
ScaleOutput scale_output;
}  // namespace avx2
namespace avx512 {
inline constexpr LinearI8Layout linear_i8_layout{{64, 2}, 0};
LinearI8 linear_i8;
Requantize requantize;
ScaleOutput scale_output;
}  // namespace avx512
namespace avx512vnni {
inline constexpr LinearI8Layout linear_i8_layout{{64, 4}, 128};
LinearI8 linear_i8;
}  // namespace avx512vnni
namespace neon {
inline constexpr LinearI8Layout linear_i8_layout{{16, 2}, 0};
LinearI8 linear_i8;
Requantize requantize;
ScaleOutput scale_output;
}  // namespace neon
namespace neondot {
inline constexpr LinearI8Layout linear_i8_layout{{16, 4}, 0};
LinearI8 linear_i8;
}  // namespace neondot

}  // namespace vaecomp::core
