// Sixteen lanes at a time: a gather reads the table, and vpexpandd deals the next words out to the lanes that need one.
#include <immintrin.h>

#include "kernels/rans/rans.hpp"

namespace vaecomp::core::avx512 {
namespace {

constexpr std::size_t width = 16;

// A state after its symbol was taken out: frequency * (x >> table_bits) + offset, and another word if that is small.
// Returns the new state; `word` moves behind the words that were needed.
__m512i advance(__m512i x, __m512i frequency, __m512i offset, const std::uint8_t*& word) {
    const __m512i product = _mm512_mullo_epi32(frequency, _mm512_srli_epi32(x, rans::table_bits));
    const __m512i next = _mm512_add_epi32(product, offset);
    const __mmask16 hungry = _mm512_cmplt_epu32_mask(next, _mm512_set1_epi32(rans::lowest_state));
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(word)));
    word += 2 * static_cast<unsigned>(_mm_popcnt_u32(hungry));
    return _mm512_mask_or_epi32(next, hungry, _mm512_slli_epi32(next, 16), _mm512_maskz_expand_epi32(hungry, words));
}

// Decodes `vectors` times sixteen symbols per turn, whose lanes stay in registers: lane_count is vectors * width, and
// the first symbol belongs to lane 0. Returns how many symbols it decoded before words could run out.
template <std::size_t vectors, bool has_contexts, bool has_symbols>
std::size_t turns(const RansTables& tables, const std::uint8_t* contexts, std::size_t count, RansState& state,
                  std::int32_t* out) {
    const __m512i slots = _mm512_set1_epi32(rans::table_total - 1), one = _mm512_set1_epi32(1);
    const __m512i least = _mm512_set1_epi32(tables.least);
    __m512i lanes[vectors];
    for (std::size_t v = 0; v < vectors; ++v) lanes[v] = _mm512_load_si512(state.lanes + v * width);
    const std::uint8_t* word = state.word;
    std::size_t i = 0;
    // A turn reads at most 2 * vectors * width bytes.
    for (; i + vectors * width <= count && state.end - word >= static_cast<std::ptrdiff_t>(2 * vectors * width);
         i += vectors * width) {
        for (std::size_t v = 0; v < vectors; ++v) {
            const std::size_t at = i + v * width;
            const __m512i x = lanes[v];
            __m512i slot = _mm512_and_si512(x, slots);
            if constexpr (has_contexts) {
                const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(contexts + at));
                slot = _mm512_or_si512(slot, _mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), rans::table_bits));
            }
            const __m512i entry = _mm512_i32gather_epi32(slot, tables.slots, 4);
            if constexpr (has_symbols) {
                _mm512_storeu_si512(out + at, _mm512_i32gather_epi32(slot, tables.symbols, 4));
            } else {
                const __m512i named = _mm512_srli_epi32(entry, rans::slot::symbol_shift);
                _mm512_storeu_si512(out + at, _mm512_add_epi32(least, named));
            }
            const __m512i frequency =
                _mm512_add_epi32(one, _mm512_and_si512(slots, _mm512_srli_epi32(entry, rans::slot::frequency_shift)));
            lanes[v] = advance(x, frequency, _mm512_and_si512(entry, slots), word);
        }
    }
    for (std::size_t v = 0; v < vectors; ++v) _mm512_store_si512(state.lanes + v * width, lanes[v]);
    state.word = word;
    return i;
}

// Finds the symbols of slots among a table's few without reading memory, for sixteen lanes in the low and sixteen in
// the high halves of 32 bits: first the group of four, then the place in it.
class Search {
  public:
    explicit Search(const RansAlphabet& alphabet) : coarse_((alphabet.count + 3) / 4) {
        for (std::size_t k = 1; k < groups; ++k) before_[k] = _mm512_set1_epi16(last_before(alphabet, 4 * k));
        for (std::size_t k = 0; k < 3; ++k) {
            alignas(64) short next[RansAlphabet::most];
            for (std::size_t i = 0; i < RansAlphabet::most; ++i) next[i] = last_before(alphabet, i + k + 1);
            next_[k] = _mm512_load_si512(next);
        }
    }

    [[nodiscard]] __m512i symbols(__m512i slot) const {
        const __m512i one = _mm512_set1_epi16(1), four = _mm512_set1_epi16(4);
        __m512i first = _mm512_setzero_si512();
        for (std::size_t k = 1; k < coarse_; ++k) {
            first = _mm512_mask_add_epi16(first, _mm512_cmpgt_epu16_mask(slot, before_[k]), first, four);
        }
        __m512i symbol = first;
        for (const __m512i& next : next_) {
            const __m512i before = _mm512_permutexvar_epi16(first, next);
            symbol = _mm512_mask_add_epi16(symbol, _mm512_cmpgt_epu16_mask(slot, before), symbol, one);
        }
        return symbol;
    }

  private:
    static constexpr std::size_t groups = RansAlphabet::most / 4;

    // The slot before a symbol's first one. For symbols that are not there it is the last slot, which none exceeds.
    static short last_before(const RansAlphabet& alphabet, std::size_t symbol) {
        return static_cast<short>((symbol < alphabet.count ? alphabet.starts[symbol] : rans::table_total) - 1);
    }
    std::size_t coarse_;
    __m512i before_[groups];
    __m512i next_[3];
};

// The same for one table of few symbols and `pairs` times 32 lanes. One pair waits for itself most of the time, and two
// take little longer together.
template <std::size_t pairs>
std::size_t turns_of_few(const RansAlphabet& alphabet, std::size_t count, RansState& state, std::int32_t* out) {
    constexpr std::size_t both = 2 * width, lanes = pairs * both;
    const Search search(alphabet);
    const __m512i starts = _mm512_load_si512(alphabet.starts), frequencies = _mm512_load_si512(alphabet.frequencies);
    const __m512i low = _mm512_set1_epi32(0xffff), slots = _mm512_set1_epi16(rans::table_total - 1);
    const __m512i first = _mm512_set1_epi32(alphabet.first);
    __m512i even[pairs], odd[pairs];
    for (std::size_t p = 0; p < pairs; ++p) {
        even[p] = _mm512_load_si512(state.lanes + p * both);
        odd[p] = _mm512_load_si512(state.lanes + p * both + width);
    }
    const std::uint8_t* word = state.word;
    std::size_t i = 0;
    for (; i + lanes <= count && state.end - word >= static_cast<std::ptrdiff_t>(2 * lanes); i += lanes) {
        for (std::size_t p = 0; p < pairs; ++p) {
            const __m512i packed = _mm512_mask_mov_epi16(even[p], 0xaaaaaaaa, _mm512_slli_epi32(odd[p], 16));
            const __m512i slot = _mm512_and_si512(slots, packed);
            const __m512i symbol = search.symbols(slot);
            std::int32_t* const pair_out = out + i + p * both;
            _mm512_storeu_si512(pair_out, _mm512_add_epi32(first, _mm512_and_si512(symbol, low)));
            _mm512_storeu_si512(pair_out + width, _mm512_add_epi32(first, _mm512_srli_epi32(symbol, 16)));
            const __m512i frequency = _mm512_permutexvar_epi16(symbol, frequencies);
            const __m512i offset = _mm512_sub_epi16(slot, _mm512_permutexvar_epi16(symbol, starts));
            even[p] = advance(even[p], _mm512_and_si512(frequency, low), _mm512_and_si512(offset, low), word);
            odd[p] = advance(odd[p], _mm512_srli_epi32(frequency, 16), _mm512_srli_epi32(offset, 16), word);
        }
    }
    for (std::size_t p = 0; p < pairs; ++p) {
        _mm512_store_si512(state.lanes + p * both, even[p]);
        _mm512_store_si512(state.lanes + p * both + width, odd[p]);
    }
    state.word = word;
    return i;
}

using Turns = std::size_t(const RansTables&, const std::uint8_t*, std::size_t, RansState&, std::int32_t*);

template <std::size_t vectors>
Turns* turns_for(bool has_contexts, bool has_symbols) {
    if (has_contexts) return has_symbols ? turns<vectors, true, true> : turns<vectors, true, false>;
    return has_symbols ? turns<vectors, false, true> : turns<vectors, false, false>;
}

}  // namespace

bool rans_decode(const RansTables& tables, const std::uint8_t* contexts, std::size_t lane_count, std::size_t first,
                 std::size_t count, RansState& state, std::int32_t* out) {
    if (lane_count < width) return avx2::rans_decode(tables, contexts, lane_count, first, count, state, out);
    const auto plain_part = [&](std::size_t begin, std::size_t length) {
        return scalar::rans_decode(tables, contexts == nullptr ? nullptr : contexts + begin, lane_count, first + begin,
                                   length, state, out + begin);
    };
    // Up to the next symbol of lane 0.
    std::size_t i = (0 - first) & (lane_count - 1);
    if (i > count) i = count;
    if (!plain_part(0, i)) return false;
    const bool has_contexts = contexts != nullptr, has_symbols = tables.symbols != nullptr;
    if (!has_contexts && tables.alphabet != nullptr && lane_count >= 2 * width) {
        const auto decode = lane_count == 2 * width ? turns_of_few<1> : turns_of_few<2>;
        i += decode(*tables.alphabet, count - i, state, out + i);
        return plain_part(i, count - i);
    }
    Turns* const forms[] = {turns_for<1>(has_contexts, has_symbols), turns_for<2>(has_contexts, has_symbols),
                            turns_for<4>(has_contexts, has_symbols)};
    i += forms[lane_count / (2 * width)](tables, has_contexts ? contexts + i : nullptr, count - i, state, out + i);
    return plain_part(i, count - i);
}

}  // namespace vaecomp::core::avx512
