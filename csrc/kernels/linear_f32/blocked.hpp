// The loops that the vector forms share. The file of each instruction set includes this with a Vector of its own.
// Everything here has internal linkage, so that each file keeps the code that was compiled for it.
//
// Vector gives: Lanes (float32), `lanes` of them, `vectors` of a panel of outputs, `rows` of a tile; and load, store,
// broadcast, fma and activate.
#pragma once

#include <cstddef>

#include "kernels/linear_f32/linear_f32.hpp"

namespace vaecomp::core {
namespace {

template <typename Vector>
class BlockedLinearF32 {
  public:
    static constexpr std::size_t panel = Vector::vectors * Vector::lanes;

    static void run(const float* packed, const float* bias, std::size_t out, std::size_t in, const float* x,
                    std::size_t rows, Activation activation, float* y) {
        for (std::size_t o = 0; o < out; o += panel) {
            const Panel outputs{packed + o * in, bias + o, in, out, out - o, activation};
            std::size_t r = 0;
            for (; r + Vector::rows <= rows; r += Vector::rows) {
                tile<Vector::rows>(outputs, x + r * in, y + r * out + o);
            }
            for (; r + 2 <= rows; r += 2) tile<2>(outputs, x + r * in, y + r * out + o);
            for (; r < rows; ++r) tile<1>(outputs, x + r * in, y + r * out + o);
        }
    }

  private:
    // Some outputs of the layer. `left` counts these and the ones behind.
    struct Panel {
        const float *weights, *bias;
        std::size_t in, stride, left;
        Activation activation;

        [[nodiscard]] std::size_t lanes(std::size_t vector) const {
            const std::size_t first = vector * Vector::lanes;
            return left <= first ? 0 : left - first < Vector::lanes ? left - first : Vector::lanes;
        }
    };

    template <std::size_t row_count>
    static void tile(const Panel& outputs, const float* x, float* y) {
        typename Vector::Lanes acc[row_count][Vector::vectors];
#pragma GCC unroll 8
        for (std::size_t v = 0; v < Vector::vectors; ++v) {
            const typename Vector::Lanes start = Vector::load(outputs.bias + v * Vector::lanes, outputs.lanes(v));
#pragma GCC unroll 8
            for (std::size_t r = 0; r < row_count; ++r) acc[r][v] = start;
        }
        const float* weights = outputs.weights;
        for (std::size_t i = 0; i < outputs.in; ++i, weights += panel) {
            typename Vector::Lanes column[Vector::vectors];
#pragma GCC unroll 8
            for (std::size_t v = 0; v < Vector::vectors; ++v) {
                column[v] = Vector::load(weights + v * Vector::lanes, Vector::lanes);
            }
#pragma GCC unroll 8
            for (std::size_t r = 0; r < row_count; ++r) {
                const typename Vector::Lanes input = Vector::broadcast(x[r * outputs.in + i]);
#pragma GCC unroll 8
                for (std::size_t v = 0; v < Vector::vectors; ++v) acc[r][v] = Vector::fma(column[v], input, acc[r][v]);
            }
        }
#pragma GCC unroll 8
        for (std::size_t r = 0; r < row_count; ++r) {
#pragma GCC unroll 8
            for (std::size_t v = 0; v < Vector::vectors; ++v) {
                Vector::store(Vector::activate(acc[r][v], outputs.activation),
                              y + r * outputs.stride + v * Vector::lanes, outputs.lanes(v));
            }
        }
    }
};

}  // namespace
}  // namespace vaecomp::core
