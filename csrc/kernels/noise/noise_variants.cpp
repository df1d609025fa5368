#include "kernels/noise/noise_variants.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp {

void noise_variants(std::span<const float> base, const NoiseRequest& request, float* out, std::size_t threads) {
    if (!(request.probability >= 0.0 && request.probability <= 1.0)) {
        throw Error(ErrorCode::invalid_argument, "probability must lie in 0 to 1");
    }
    if (base.empty()) return;
    const auto threshold = static_cast<std::uint32_t>(std::floor(request.probability * 2147483648.0 + 0.5));
    const NoiseParameters parameters{request.seed, threshold, static_cast<float>(1.0 / std::max(threshold, 1u)),
                                     request.sigma};
    constexpr std::size_t grain = 32768;
    const std::size_t ranges = (base.size() + grain - 1) / grain;
    parallel_for(request.count * ranges, threads, [&](std::size_t task) {
        const std::size_t row = task / ranges, begin = task % ranges * grain;
        kernels().noise_run(parameters, request.first_variant + row, request.first_index + begin, base.data() + begin,
                            out + row * base.size() + begin, std::min(grain, base.size() - begin));
    });
}

}  // namespace vaecomp
