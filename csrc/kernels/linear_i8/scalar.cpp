#include "kernels/linear_i8/linear_i8.hpp"

namespace vaecomp::core::scalar {

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; ++o) {
            // Unsigned arithmetic, because sums wrap modulo 2^32.
            auto sum = static_cast<std::uint32_t>(bias[o]);
            for (std::size_t i = 0; i < in; ++i) {
                sum += static_cast<std::uint32_t>(packed[o * in + i] * x[r * in + i]);
            }
            acc[r * out + o] = static_cast<std::int32_t>(sum);
        }
    }
}

void requantize(const std::int32_t* acc, std::size_t rows, std::size_t out, const std::int32_t* multiplier,
                const std::uint8_t* shift, std::int8_t* y) {
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; ++o) {
            std::int64_t value = std::int64_t{acc[r * out + o]} * multiplier[o];
            if (shift[o] > 0) value = (value + (std::int64_t{1} << (shift[o] - 1))) >> shift[o];
            y[r * out + o] = static_cast<std::int8_t>(value < 0 ? 0 : value > 127 ? 127 : value);
        }
    }
}

void scale_output(const std::int32_t* acc, std::size_t rows, std::size_t out, const float* scale, float* y) {
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; ++o) y[r * out + o] = static_cast<float>(acc[r * out + o]) * scale[o];
    }
}

}  // namespace vaecomp::core::scalar
