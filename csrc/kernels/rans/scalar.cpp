#include "core/endian.hpp"
#include "kernels/rans/rans.hpp"

namespace vaecomp::scalar {

bool rans_decode(const RansTable& table, std::size_t lane_count, std::size_t first, std::size_t count, RansState& state,
                 std::int32_t* out) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t& lane = state.lanes[(first + i) & (lane_count - 1)];
        const std::uint32_t slot = lane & (rans::table_total - 1), step = table.steps[slot];
        out[i] = table.symbols[slot];
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

}  // namespace vaecomp::scalar
