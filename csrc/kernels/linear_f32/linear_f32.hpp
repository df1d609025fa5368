// The float32 decoder's layer (docs/kernels.md, 4).
#pragma once

#include <cstddef>

#include "kernels/packed_layout.hpp"

namespace vaecomp::core {

enum class Activation { relu, none };

// y[rows, out] = chain of fma(W[o, i], x[i], acc) over ascending i, from the bias. `none` stores a NaN as 0x7fc00000.
using LinearF32 = void(const float* packed, const float* bias, std::size_t out, std::size_t in, const float* x,
                       std::size_t rows, Activation activation, float* y);

namespace scalar {
inline constexpr PackedLayout linear_f32_layout{1, 1};
LinearF32 linear_f32;
}  // namespace scalar
namespace avx2 {
inline constexpr PackedLayout linear_f32_layout{16, 1};
LinearF32 linear_f32;
}  // namespace avx2
namespace avx512 {
inline constexpr PackedLayout linear_f32_layout{64, 1};
LinearF32 linear_f32;
}  // namespace avx512
namespace neon {
inline constexpr PackedLayout linear_f32_layout{16, 1};
LinearF32 linear_f32;
}  // namespace neon

}  // namespace vaecomp::core
