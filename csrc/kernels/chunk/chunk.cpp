#include "kernels/chunk/chunk.hpp"

#include "core/extent.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {

void write(const TensorTarget& target, std::size_t first, std::span<const float> values) {
    kernels().from_float32[convertible_index(target.dtype)](
        values.data(), target.data + first * info(target.dtype).size, values.size());
}

void scatter(std::span<const float> values, std::size_t begin, std::span<const TensorTarget> targets) {
    for_each_overlap(targets, begin, begin + values.size(),
                     [&](std::size_t t, std::size_t first, std::size_t count, std::size_t at) {
                         write(targets[t], first, values.subspan(at, count));
                     });
}

}  // namespace vaecomp::core
