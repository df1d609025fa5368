// Conversion of contiguous runs between float32 and the other float dtypes (docs/kernels.md, 1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/dtype.hpp"

namespace vaecomp::core {

// Elements in host byte order at any alignment.
using ToFloat32 = void(const std::uint8_t* from, float* to, std::size_t count);
using FromFloat32 = void(const float* from, std::uint8_t* to, std::size_t count);

inline constexpr std::array<DType, 6> convertible = {DType::f16, DType::bf16,      DType::f32,
                                                     DType::f64, DType::f8_e4m3fn, DType::f8_e5m2};

constexpr std::size_t convertible_index(DType dtype) {
    return static_cast<std::size_t>(dtype) - static_cast<std::size_t>(DType::f16);
}

namespace scalar {
ToFloat32 from_f16, from_bf16, from_f32, from_f64, from_f8_e4m3fn, from_f8_e5m2;
FromFloat32 to_f16, to_bf16, to_f32, to_f64, to_f8_e4m3fn, to_f8_e5m2;
}  // namespace scalar

namespace avx2 {
ToFloat32 from_f16, from_bf16, from_f64;
FromFloat32 to_f16, to_bf16, to_f64;
}  // namespace avx2

namespace neon {
ToFloat32 from_f16, from_bf16, from_f64;
FromFloat32 to_f16, to_bf16, to_f64;
}  // namespace neon

}  // namespace vaecomp::core
