// Symbols of one row of a quantized matrix to values (docs/kernels.md, 7).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

// What elements are multiplied with, by their exponent from 0 on. They are normal numbers, and each is twice the last
// but one.
struct Scales {
    const float* of;
    std::size_t count;
};

// out[j] = float(symbols[j]) * scales.of[row + columns[j]]. If `columns` is null they are zeros. Every exponent is
// below scales.count.
using Dequantize = void(const std::int32_t* symbols, const Scales& scales, std::int32_t row,
                        const std::int16_t* columns, std::size_t count, float* out);

namespace scalar {
Dequantize dequantize;
}
namespace avx2 {
Dequantize dequantize;
}
namespace avx512 {
Dequantize dequantize;
}
namespace neon {
Dequantize dequantize;
}

}  // namespace vaecomp::core
