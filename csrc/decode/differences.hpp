// Differences sections: what the pack predicts, moved to what is (docs/kernels.md, 8).
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/extent.hpp"
#include "decode/targets.hpp"
#include "format/differences.hpp"

namespace vaecomp::core {

// Elements of a tensor as predicted, contiguous and in host byte order; decoding replaces them.
struct Prediction {
    Extent elements{0, 0};  // of the tensor
    Vector<std::uint8_t> data;
};

// For each tensor of the section the elements whose predictions decoding needs: those of whole blocks. Targets as for
// decode_quantized.
Vector<Extent> predicted_elements(const DifferenceSection& section, std::span<const TensorTarget> targets);

// `predictions` are of those elements.
void decode_differences(const Source& source, const DifferenceSection& section, std::span<Prediction> predictions,
                        std::span<const TensorTarget> targets, std::size_t threads, Written written);

}  // namespace vaecomp::core
