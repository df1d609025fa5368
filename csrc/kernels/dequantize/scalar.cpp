#include "kernels/dequantize/dequantize.hpp"

namespace vaecomp::core::scalar {

void dequantize(const std::int32_t* symbols, const Scales& scales, std::int32_t row, const std::int16_t* columns,
                std::size_t count, float* out) {
    for (std::size_t j = 0; j < count; ++j) {
        const std::int32_t exponent = row + (columns == nullptr ? 0 : columns[j]);
        out[j] = static_cast<float>(symbols[j]) * scales.of[exponent];
    }
}

}  // namespace vaecomp::core::scalar
