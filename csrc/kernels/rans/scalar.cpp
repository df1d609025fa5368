#include "core/endian.hpp"
#include "kernels/rans/rans.hpp"

namespace vaecomp::scalar {
namespace {

// Compiled once for one table and once for many, so that the former does not pay for the latter.
template <bool has_contexts>
bool decode(const RansTables& tables, const std::uint8_t* contexts, std::size_t lane_count, std::size_t first,
            std::size_t count, RansState& state, std::int32_t* out) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t& lane = state.lanes[(first + i) & (lane_count - 1)];
        std::uint32_t slot = lane & (rans::table_total - 1);
        if constexpr (has_contexts) slot |= std::uint32_t{contexts[i]} << rans::table_bits;
        const std::uint32_t step = tables.steps[slot];
        out[i] = tables.symbols[slot];
        std::uint32_t x = (step & 0xffff) * (lane >> rans::table_bits) + (step >> 16);
        if (x < rans::lowest_state) {
            if (state.word == state.end) return false;
            x = x << 16 | load_le<std::uint16_t>(state.word);
            state.word += 2;
        }
        lane = x;
    }
    return true;
}

}  // namespace

bool rans_decode(const RansTables& tables, const std::uint8_t* contexts, std::size_t lane_count, std::size_t first,
                 std::size_t count, RansState& state, std::int32_t* out) {
    return (contexts == nullptr ? decode<false> : decode<true>)(tables, contexts, lane_count, first, count, state, out);
}

}  // namespace vaecomp::scalar
