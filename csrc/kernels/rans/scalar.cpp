#include "core/endian.hpp"
#include "kernels/rans/rans.hpp"

namespace vaecomp::core::scalar {
namespace {

// Compiled for each kind of tables, so that the plain ones do not pay for the others.
template <bool has_contexts, bool has_symbols>
bool decode(const RansTables& tables, const std::uint8_t* contexts, std::size_t lane_count, std::size_t first,
            std::size_t count, RansState& state, std::int32_t* out) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t& lane = state.lanes[(first + i) & (lane_count - 1)];
        std::uint32_t slot = lane & (rans::table_total - 1);
        if constexpr (has_contexts) slot |= std::uint32_t{contexts[i]} << rans::table_bits;
        const std::uint32_t entry = tables.slots[slot];
        if constexpr (has_symbols) {
            out[i] = tables.symbols[slot];
        } else {
            out[i] = tables.least + static_cast<std::int32_t>(entry >> rans::slot::symbol_shift);
        }
        const std::uint32_t frequency = (entry >> rans::slot::frequency_shift & (rans::table_total - 1)) + 1;
        std::uint32_t x = frequency * (lane >> rans::table_bits) + (entry & (rans::table_total - 1));
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
    RansDecode* const forms[2][2] = {{decode<false, false>, decode<false, true>},
                                     {decode<true, false>, decode<true, true>}};
    return forms[contexts != nullptr][tables.symbols != nullptr](tables, contexts, lane_count, first, count, state,
                                                                 out);
}

}  // namespace vaecomp::core::scalar
