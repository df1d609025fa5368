// Sums of what symbols cost at each context level (docs/quantization.md, Context levels).
#pragma once

#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

// A table's entry holds the costs of one symbol at 16 levels.
inline constexpr std::size_t cost_lanes = 16;

// Adds the costs at table + entries[i] * cost_lanes, for i in [0, count), to sums[0 .. cost_lanes).
using AddCosts = void(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums);
// The same with sums of their own for each entry: to sums[i * cost_lanes ..].
using AddCostsApart = AddCosts;

namespace scalar {
AddCosts add_costs;
AddCostsApart add_costs_apart;
}  // namespace scalar
namespace avx2 {
AddCosts add_costs;
AddCostsApart add_costs_apart;
}  // namespace avx2
namespace avx512 {
AddCosts add_costs;
AddCostsApart add_costs_apart;
}  // namespace avx512

}  // namespace vaecomp::core
