// The float32 decoder's layer (docs/kernels.md, 4).
#pragma once

#include <cstddef>

namespace vaecomp {

enum class Activation { relu, none };

// y[rows, out] = chain of fma(W[o, i], x[i], acc) over ascending i, from the bias. Weights are given transposed,
// [in][out], so that vector lanes run over outputs. `none` stores a NaN as 0x7fc00000.
using LinearF32 = void(const float* transposed, const float* bias, std::size_t out, std::size_t in, const float* x,
                       std::size_t rows, Activation activation, float* y);

namespace scalar {
LinearF32 linear_f32;
}
namespace avx2 {
LinearF32 linear_f32;
}

}  // namespace vaecomp
