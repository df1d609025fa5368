// Eight lanes at a time: plain loads bring the intervals, which is faster than gathers, and a permutation brings the
// words that are due together.
#include <immintrin.h>

#include "kernels/rans_encode/rans_encode.hpp"

namespace vaecomp::core::avx2 {
namespace {

constexpr std::size_t width = 8;
static_assert(rans_words_ahead >= width);

// For every set of lanes whose words are due: the bytes of these words, behind any others.
struct Collections {
    alignas(16) std::uint8_t bytes[256][2 * width];
};

constexpr Collections make_collections() {
    Collections collections{};
    for (unsigned set = 0; set < 256; ++set) {
        std::size_t at = width;
        for (unsigned lane = width; lane-- > 0;) {
            if ((set >> lane & 1) == 0) continue;
            --at;
            collections.bytes[set][2 * at] = static_cast<std::uint8_t>(2 * lane);
            collections.bytes[set][2 * at + 1] = static_cast<std::uint8_t>(2 * lane + 1);
        }
    }
    return collections;
}
constexpr Collections collections = make_collections();

// Two intervals.
__m128d pair(const RansInterval* intervals, const std::uint32_t* entries) {
    const __m128d one = _mm_load_sd(reinterpret_cast<const double*>(intervals + entries[0]));
    return _mm_loadh_pd(one, reinterpret_cast<const double*>(intervals + entries[1]));
}

__m256 pairs(const RansInterval* intervals, const std::uint32_t* low, const std::uint32_t* high) {
    const __m256d both = _mm256_castpd128_pd256(pair(intervals, low));
    return _mm256_castpd_ps(_mm256_insertf128_pd(both, pair(intervals, high), 1));
}

}  // namespace

void rans_encode(const RansInterval* intervals, const std::uint32_t* entries, std::size_t lane_count, std::size_t first,
                 std::size_t count, RansEncoding& state) {
    if (lane_count < width) return scalar::rans_encode(intervals, entries, lane_count, first, count, state);
    // Down to the first symbol of a lane that begins a vector.
    std::size_t i = count;
    const std::size_t odd = (first + count) & (width - 1), last = odd < count ? odd : count;
    i -= last;
    scalar::rans_encode(intervals, entries + i, lane_count, first + i, last, state);
    const __m256i mask = _mm256_set1_epi32(RansInterval::frequency_mask);
    const __m256i addends = _mm256_set1_epi32(RansInterval::addend_mask), low = _mm256_set1_epi32(0xffff);
    std::uint16_t* word = state.word;
    for (; i >= width; i -= width) {
        const std::uint32_t* own = entries + i - width;
        const __m256 first_pairs = pairs(intervals, own, own + 4), second_pairs = pairs(intervals, own + 2, own + 6);
        const __m256i reciprocal = _mm256_castps_si256(_mm256_shuffle_ps(first_pairs, second_pairs, 0x88));
        const __m256i packed = _mm256_castps_si256(_mm256_shuffle_ps(first_pairs, second_pairs, 0xdd));
        const __m256i below = _mm256_and_si256(packed, mask);  // the frequency - 1

        auto* lanes = reinterpret_cast<__m256i*>(state.lanes + ((first + i - width) & (lane_count - 1)));
        __m256i x = _mm256_load_si256(lanes);
        const __m256i due = _mm256_cmpgt_epi32(_mm256_srli_epi32(x, 20), below);
        const auto set = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(due)));
        const __m256i words = _mm256_and_si256(x, low);
        const __m256i packed_words = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
        const __m128i collection = _mm_load_si128(reinterpret_cast<const __m128i*>(collections.bytes[set]));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(word - width),
                         _mm_shuffle_epi8(_mm256_castsi256_si128(packed_words), collection));
        word -= _mm_popcnt_u32(set);
        x = _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 16), due);

        const __m256i even = _mm256_mul_epu32(x, reciprocal);
        const __m256i uneven = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(reciprocal, 32));
        const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), uneven, 0xaa);
        const __m256i quotient = _mm256_srlv_epi32(high, _mm256_srli_epi32(packed, RansInterval::shift_shift));
        const __m256i frequency = _mm256_sub_epi32(below, _mm256_set1_epi32(-1));
        const __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(quotient, frequency));
        const __m256i addend = _mm256_and_si256(_mm256_srli_epi32(packed, RansInterval::addend_shift), addends);
        const __m256i excess = _mm256_and_si256(_mm256_srai_epi32(rest, 31), _mm256_sub_epi32(mask, below));
        const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(quotient, rans::table_bits), addend);
        _mm256_store_si256(lanes, _mm256_add_epi32(sum, _mm256_sub_epi32(rest, excess)));
    }
    state.word = word;
    scalar::rans_encode(intervals, entries, lane_count, first, i, state);
}

}  // namespace vaecomp::core::avx2
