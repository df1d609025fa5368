// Many noisy variants of one parameter vector (docs/kernels.md, 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaecomp::core {

struct NoiseRequest {
    std::size_t count;
    double probability;  // in [0, 1]
    double sigma;        // rounded to float32; at most 2^120 in magnitude
    std::uint64_t seed, first_variant, first_index;
};

// Writes float32 [request.count, base.size()] to `out`. Throws invalid_argument for
// a probability or sigma out of range and for variants or indices beyond 2^64.
void noise_variants(std::span<const float> base, const NoiseRequest& request, float* out, std::size_t threads);

}  // namespace vaecomp::core
