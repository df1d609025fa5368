// Eight lanes at a time: gathers read the table, and a permutation deals the next words out to the lanes that need one.
#include <immintrin.h>

#include "kernels/rans/rans.hpp"

namespace vaecomp::core::avx2 {
namespace {

constexpr std::size_t width = 8;

// For every set of lanes that need a word: which of the next words each of them gets.
struct Deals {
    alignas(width) std::uint8_t word[256][width];
};

constexpr Deals make_deals() {
    Deals deals{};
    for (unsigned set = 0; set < 256; ++set) {
        std::uint8_t next = 0;
        for (unsigned lane = 0; lane < width; ++lane) {
            deals.word[set][lane] = next;
            if (set >> lane & 1) ++next;
        }
    }
    return deals;
}
constexpr Deals deals = make_deals();

}  // namespace

bool rans_decode(const RansTables& tables, const std::uint8_t* contexts, std::size_t lane_count, std::size_t first,
                 std::size_t count, RansState& state, std::int32_t* out) {
    if (lane_count < width) return scalar::rans_decode(tables, contexts, lane_count, first, count, state, out);
    const auto scalar_part = [&](std::size_t begin, std::size_t length) {
        return scalar::rans_decode(tables, contexts == nullptr ? nullptr : contexts + begin, lane_count, first + begin,
                                   length, state, out + begin);
    };
    // Up to the next symbol of a lane that begins a vector.
    std::size_t i = (0 - first) & (width - 1);
    if (i > count) i = count;
    if (!scalar_part(0, i)) return false;
    const __m256i slots = _mm256_set1_epi32(rans::table_total - 1);
    const __m256i least = _mm256_set1_epi32(tables.least), one = _mm256_set1_epi32(1);
    const int* entries = reinterpret_cast<const int*>(tables.slots);
    // A vector reads eight words ahead, so that the last ones are left to the scalar form.
    const std::uint8_t* word = state.word;
    while (i + width <= count && state.end - word >= static_cast<std::ptrdiff_t>(2 * width)) {
        auto* lanes = reinterpret_cast<__m256i*>(state.lanes + ((first + i) & (lane_count - 1)));
        const __m256i x = _mm256_load_si256(lanes);
        __m256i slot = _mm256_and_si256(x, slots);
        if (contexts != nullptr) {
            const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(contexts + i));
            slot = _mm256_or_si256(slot, _mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), rans::table_bits));
        }
        const __m256i entry = _mm256_i32gather_epi32(entries, slot, 4);
        const __m256i symbols = tables.symbols != nullptr
                                    ? _mm256_i32gather_epi32(tables.symbols, slot, 4)
                                    : _mm256_add_epi32(least, _mm256_srli_epi32(entry, rans::slot::symbol_shift));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), symbols);
        const __m256i frequency =
            _mm256_add_epi32(one, _mm256_and_si256(slots, _mm256_srli_epi32(entry, rans::slot::frequency_shift)));
        const __m256i product = _mm256_mullo_epi32(frequency, _mm256_srli_epi32(x, rans::table_bits));
        const __m256i next = _mm256_add_epi32(product, _mm256_and_si256(entry, slots));
        const __m256i hungry = _mm256_cmpeq_epi32(_mm256_srli_epi32(next, 16), _mm256_setzero_si256());
        const auto set = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(hungry)));
        const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(word)));
        const __m128i narrow = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(deals.word[set]));
        const __m256i deal = _mm256_cvtepu8_epi32(narrow);
        const __m256i fed = _mm256_or_si256(_mm256_slli_epi32(next, 16), _mm256_permutevar8x32_epi32(words, deal));
        _mm256_store_si256(lanes, _mm256_blendv_epi8(next, fed, hungry));
        word += 2 * _mm_popcnt_u32(set);
        i += width;
    }
    state.word = word;
    return scalar_part(i, count - i);
}

}  // namespace vaecomp::core::avx2
