// How weights [out, in] lie in memory for a kernel.
#pragma once

#include <algorithm>
#include <cstddef>

#include "core/containers.hpp"

namespace vaecomp::core {

// Packed once a decoder: [out / outputs][in / inputs][outputs][inputs], zero filled.
struct PackedLayout {
    std::size_t outputs, inputs;

    [[nodiscard]] static constexpr std::size_t padded(std::size_t count, std::size_t multiple) {
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

    template <typename Weight>
    [[nodiscard]] Vector<Weight> pack(const Vector<Weight>& weights, std::size_t out, std::size_t in) const {
        Vector<Weight> packed(size(out, in));
        for (std::size_t o = 0; o < out; ++o) {
            const Weight* from = weights.data() + o * in;
            Weight* to = packed.data() + index(o, 0, in);
            for (std::size_t i = 0; i < in; i += inputs, to += outputs * inputs) {
                std::copy_n(from + i, std::min(inputs, in - i), to);
            }
        }
        return packed;
    }
};

}  // namespace vaecomp::core
