#include <bit>
#include <cstring>

#include "kernels/add_base/add_base.hpp"

namespace vaecomp::core::scalar {
namespace {

constexpr auto canonical_nan = std::bit_cast<float>(0x7fc00000);

}  // namespace

void add_base(const float* base, const float* values, std::size_t count, std::uint8_t* sums) {
    for (std::size_t i = 0; i < count; ++i) {
        float sum = base[i] + values[i];
        if (sum != sum) sum = canonical_nan;
        std::memcpy(sums + i * sizeof(sum), &sum, sizeof(sum));
    }
}

}  // namespace vaecomp::core::scalar
