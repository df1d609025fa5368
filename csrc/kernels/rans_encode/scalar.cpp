#include "kernels/rans_encode/rans_encode.hpp"

namespace vaecomp::core::scalar {

void rans_encode(const RansInterval* intervals, const std::uint32_t* entries, std::size_t lane_count, std::size_t first,
                 std::size_t count, RansEncoding& state) {
    std::uint16_t* word = state.word;
    for (std::size_t i = count; i-- > 0;) {
        const RansInterval interval = intervals[entries[i]];
        const std::uint32_t frequency = (interval.packed & RansInterval::frequency_mask) + 1;
        std::uint32_t& lane = state.lanes[(first + i) & (lane_count - 1)];
        std::uint32_t x = lane;
        // Whether a word is due is hard to predict: no branch.
        const bool is_due = x >> 20 >= frequency;
        word[-1] = static_cast<std::uint16_t>(x);
        word -= is_due;
        x >>= is_due ? 16 : 0;
        const auto high = static_cast<std::uint32_t>(std::uint64_t{x} * interval.reciprocal >> 32);
        const std::uint32_t quotient = high >> (interval.packed >> RansInterval::shift_shift);
        const std::uint32_t rest = x - quotient * frequency;
        const std::uint32_t addend = interval.packed >> RansInterval::addend_shift & RansInterval::addend_mask;
        const std::uint32_t excess = rest >> 31 != 0 ? rans::table_total - frequency : 0;
        lane = (quotient << rans::table_bits) + rest + addend - excess;
    }
    state.word = word;
}

}  // namespace vaecomp::core::scalar
