// The integer decoder's operations (docs/kernels.md, 3). A batch is `rows` chunks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp {

// Weights are packed once a decoder: [out / outputs][in / inputs][outputs][inputs], zero filled.
struct PackedLayout {
    std::size_t outputs, inputs;
    [[nodiscard]] constexpr std::size_t padded(std::size_t count, std::size_t multiple) const {
        return (count + multiple - 1) / multiple * multiple;
    }
    [[nodiscard]] constexpr std::size_t size(std::size_t out, std::size_t in) const {
        return padded(out, outputs) * padded(in, inputs);
    }
    // Where the weight from input i to output o lies.
    [[nodiscard]] constexpr std::size_t index(std::size_t o, std::size_t i, std::size_t in) const {
        const std::size_t tile = o / outputs * (padded(in, inputs) / inputs) + i / inputs;
        return (tile * outputs + o % outputs) * inputs + i % inputs;
    }
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
inline constexpr PackedLayout linear_i8_layout{1, 1};
LinearI8 linear_i8;
Requantize requantize;
ScaleOutput scale_output;
}  // namespace scalar
namespace avx2 {
inline constexpr PackedLayout linear_i8_layout{8, 2};
LinearI8 linear_i8;
Requantize requantize;
ScaleOutput scale_output;
}  // namespace avx2

}  // namespace vaecomp
