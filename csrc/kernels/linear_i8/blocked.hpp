// The loops that the vector forms share. The file of each instruction set includes this with a Vector of its own.
// Everything here has internal linkage, so that each file keeps the code that was compiled for it.
//
// Vector gives: Sum (int32 lanes), Weights, Inputs and Element (an input as the products take it); `lanes` of a Sum,
// `vectors` of a panel, `rows` of a tile, `inputs` of a step; and load, store, weights, broadcast, element,
// multiply_add.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear_i8/linear_i8.hpp"

namespace vaecomp::core {
namespace {

template <typename Vector>
class BlockedLinearI8 {
  public:
    static constexpr std::size_t panel = Vector::vectors * Vector::lanes;

    static void run(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
                    const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
        const std::size_t panel_bytes = (in + Vector::inputs - 1) / Vector::inputs * Vector::inputs * panel;
        Elements elements;
        for (std::size_t i = 0; i < in; i += block_inputs) {
            const std::size_t count = in - i < block_inputs ? in - i : block_inputs;
            for (std::size_t r = 0; r < rows; r += block_rows) {
                const std::size_t block = rows - r < block_rows ? rows - r : block_rows;
                convert(x + r * in + i, in, block, count, elements);
                for (std::size_t o = 0; o < out; o += panel) {
                    const std::int8_t* weights = packed + o / panel * panel_bytes + i * panel;
                    const Sums sums{i == 0 ? bias + o : nullptr, acc + r * out + o, out, out - o};
                    block_of_rows(weights, elements, count, block, sums);
                }
            }
        }
    }

  private:
    // How many inputs are converted at a time and multiplied with panel after panel. They and a panel's weights fit in
    // the first- or second-level cache.
    static constexpr std::size_t block_inputs = 512, block_rows = 24;
    using Elements = typename Vector::Element[block_rows][block_inputs];

    // Where a tile's sums come from (the biases, or the sums so far) and where they go. `left` outputs are left.
    struct Sums {
        const std::int32_t* bias;
        std::int32_t* acc;
        std::size_t stride, left;

        [[nodiscard]] std::size_t lanes(std::size_t vector) const {
            const std::size_t first = vector * Vector::lanes;
            return left <= first ? 0 : left - first < Vector::lanes ? left - first : Vector::lanes;
        }
    };

    static void convert(const std::int8_t* x, std::size_t in, std::size_t rows, std::size_t count, Elements& elements) {
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t i = 0; i < count; ++i) elements[r][i] = Vector::element(x[r * in + i]);
            // The weights of inputs that fill up the last step are zeros.
            for (std::size_t i = count; i % Vector::inputs != 0; ++i) elements[r][i] = Vector::element(0);
        }
    }

    static void block_of_rows(const std::int8_t* weights, const Elements& elements, std::size_t count, std::size_t rows,
                              const Sums& sums) {
        std::size_t r = 0;
        for (; r + Vector::rows <= rows; r += Vector::rows) tile<Vector::rows>(weights, elements, count, r, sums);
        if constexpr (Vector::rows > 2) {
            for (; r + 2 <= rows; r += 2) tile<2>(weights, elements, count, r, sums);
        }
        for (; r < rows; ++r) tile<1>(weights, elements, count, r, sums);
    }

    template <std::size_t row_count>
    static void tile(const std::int8_t* weights, const Elements& elements, std::size_t count, std::size_t first_row,
                     const Sums& sums) {
        typename Vector::Sum sum[row_count][Vector::vectors];
#pragma GCC unroll 8
        for (std::size_t r = 0; r < row_count; ++r) {
            const std::int32_t* from = sums.bias != nullptr ? sums.bias : sums.acc + (first_row + r) * sums.stride;
#pragma GCC unroll 8
            for (std::size_t v = 0; v < Vector::vectors; ++v) {
                sum[r][v] = Vector::load(from + v * Vector::lanes, sums.lanes(v));
            }
        }
        for (std::size_t i = 0; i < count; i += Vector::inputs, weights += Vector::inputs * panel) {
            typename Vector::Weights column[Vector::vectors];
#pragma GCC unroll 8
            for (std::size_t v = 0; v < Vector::vectors; ++v) {
                column[v] = Vector::weights(weights + v * Vector::lanes * Vector::inputs);
            }
#pragma GCC unroll 8
            for (std::size_t r = 0; r < row_count; ++r) {
                const typename Vector::Inputs input = Vector::broadcast(&elements[first_row + r][i]);
#pragma GCC unroll 8
                for (std::size_t v = 0; v < Vector::vectors; ++v) {
                    sum[r][v] = Vector::multiply_add(sum[r][v], column[v], input);
                }
            }
        }
#pragma GCC unroll 8
        for (std::size_t r = 0; r < row_count; ++r) {
            std::int32_t* to = sums.acc + (first_row + r) * sums.stride;
#pragma GCC unroll 8
            for (std::size_t v = 0; v < Vector::vectors; ++v) {
                Vector::store(sum[r][v], to + v * Vector::lanes, sums.lanes(v));
            }
        }
    }
};

}  // namespace
}  // namespace vaecomp::core
