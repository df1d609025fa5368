// A base and what is added to it (docs/kernels.md, 7).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

// sums[i] = base[i] + values[i]; every NaN is the canonical one. `sums` are floats at any alignment, and may be
// `values`.
using AddBase = void(const float* base, const float* values, std::size_t count, std::uint8_t* sums);

namespace scalar {
AddBase add_base;
}
namespace avx2 {
AddBase add_base;
}
namespace avx512 {
AddBase add_base;
}
namespace neon {
AddBase add_base;
}

}  // namespace vaecomp::core
