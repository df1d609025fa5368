#include "kernels/noise/noise_variants.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/float_environment.hpp"
#include "core/parallel.hpp"
#include "kernels/encoder_kernels.hpp"

namespace vaecomp::core {
namespace {

void check(const NoiseRequest& request, std::uint64_t elements) {
    constexpr double largest_sigma = 0x1p120;
    constexpr std::uint64_t last = ~std::uint64_t{0};
    const auto fail = [](const char* problem) { throw Error(ErrorCode::invalid_argument, problem); };
    if (!(request.probability >= 0.0 && request.probability <= 1.0)) fail("probability must lie in 0 to 1");
    if (!(std::fabs(request.sigma) <= largest_sigma)) fail("sigma must be finite, at most 2^120 in magnitude");
    if (request.count > 0 && request.count - 1 > last - request.first_variant) fail("every variant must be below 2^64");
    if (elements > 0 && elements - 1 > last - request.first_index) fail("every index must be below 2^64");
}

// 1 / n, rounded towards zero. For 0, which nobody needs, it is that of 1.
float reciprocal(std::uint32_t count) {
    const double exact = 1.0 / std::max(count, 1u);
    const auto nearest = static_cast<float>(exact);
    return nearest > exact ? std::nextafter(nearest, 0.0f) : nearest;
}

NoiseParameters parameters_of(const NoiseRequest& request) {
    const FloatEnvironment environment;
    const auto threshold = static_cast<std::uint32_t>(std::floor(request.probability * 2147483648.0 + 0.5));
    return noise_parameters(request.seed, threshold, static_cast<float>(request.sigma));
}

}  // namespace

NoiseParameters noise_parameters(std::uint64_t seed, std::uint32_t threshold, float sigma) {
    return {seed, threshold, reciprocal(threshold), reciprocal(0x80000000u - threshold), sigma};
}

void noise_variants(std::span<const float> base, const NoiseRequest& request, float* out, std::size_t threads) {
    check(request, base.size());
    if (base.empty()) return;
    const NoiseParameters parameters = parameters_of(request);
    constexpr std::size_t elements_a_task = 32768;
    const std::size_t ranges = (base.size() + elements_a_task - 1) / elements_a_task;
    parallel_for(request.count * ranges, threads, [&](std::size_t task) {
        const std::size_t row = task / ranges, begin = task % ranges * elements_a_task;
        encoder_kernels().noise_run(parameters, request.first_variant + row, request.first_index + begin,
                                    base.data() + begin, out + row * base.size() + begin,
                                    std::min(elements_a_task, base.size() - begin));
    });
}

}  // namespace vaecomp::core
