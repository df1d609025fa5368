#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/linear_f32/linear_f32.hpp"

namespace vaecomp::core::scalar {

void linear_f32(const float* packed, const float* bias, std::size_t out, std::size_t in, const float* x,
                std::size_t rows, Activation activation, float* y) {
    for (std::size_t r = 0; r < rows; ++r, x += in, y += out) {
        for (std::size_t o = 0; o < out; ++o) {
            float acc = bias[o];
            for (std::size_t i = 0; i < in; ++i) acc = std::fma(packed[o * in + i], x[i], acc);
            if (activation == Activation::relu) {
                y[o] = acc > 0.0f ? acc : 0.0f;
            } else {
                y[o] = acc == acc ? acc : std::bit_cast<float>(std::uint32_t{0x7fc00000});
            }
        }
    }
}

}  // namespace vaecomp::core::scalar
