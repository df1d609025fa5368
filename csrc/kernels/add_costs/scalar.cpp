#include "kernels/add_costs/add_costs.hpp"

namespace vaecomp::core::scalar {

void add_costs(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t* costs = table + entries[i] * cost_lanes;
        for (std::size_t t = 0; t < cost_lanes; ++t) sums[t] += costs[t];
    }
}

void add_costs_apart(const std::uint16_t* table, const std::uint32_t* entries, std::size_t count, std::uint32_t* sums) {
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t* costs = table + entries[i] * cost_lanes;
        for (std::size_t t = 0; t < cost_lanes; ++t) sums[i * cost_lanes + t] += costs[t];
    }
}

}  // namespace vaecomp::core::scalar
