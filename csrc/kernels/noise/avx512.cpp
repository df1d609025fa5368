// Twice sixteen Philox counters at a time give 128 consecutive elements.
#include <immintrin.h>

#include "kernels/noise/noise.hpp"

namespace vaecomp::avx512 {
namespace {

constexpr std::size_t lanes = 16;
// Of sixteen Philox blocks: together they hide the latency of multiplications.
constexpr std::size_t sets = 2, vectors_a_step = 4 * sets, elements_a_step = lanes * vectors_a_step;

__m512 constant(std::uint32_t bits) { return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits))); }

struct Product {
    __m512i low, high;
};

// 32 x 32 -> 64 bits in each of sixteen lanes.
Product multiply(__m512i a, std::uint32_t b) {
    const __m512i factor = _mm512_set1_epi32(static_cast<int>(b));
    const __m512i even = _mm512_mul_epu32(a, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), factor);
    return {_mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CCAA),
            _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB)};
}

// The keys of every round, the same for all counters.
struct RoundKeys {
    __m512i k0[noise::philox_rounds], k1[noise::philox_rounds];

    explicit RoundKeys(std::uint64_t seed) {
        auto low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
        for (int i = 0; i < noise::philox_rounds; ++i, low += noise::philox_weyl_0, high += noise::philox_weyl_1) {
            k0[i] = _mm512_set1_epi32(static_cast<int>(low));
            k1[i] = _mm512_set1_epi32(static_cast<int>(high));
        }
    }
};

// Every second of the 32 words of both, from number `first` on.
__m512i halves_of(__m512i a, __m512i b, int first) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_epi32(a, _mm512_add_epi32(even, _mm512_set1_epi32(first)), b);
}

// Lane b of c0..c3 holds block b's four words: to element order.
void transpose(__m512i c0, __m512i c1, __m512i c2, __m512i c3, __m512i words[4]) {
    const __m512i ab_low = _mm512_unpacklo_epi32(c0, c1), ab_high = _mm512_unpackhi_epi32(c0, c1);
    const __m512i cd_low = _mm512_unpacklo_epi32(c2, c3), cd_high = _mm512_unpackhi_epi32(c2, c3);
    const __m512i blocks_0 = _mm512_unpacklo_epi64(ab_low, cd_low), blocks_1 = _mm512_unpackhi_epi64(ab_low, cd_low);
    const __m512i blocks_2 = _mm512_unpacklo_epi64(ab_high, cd_high),
                  blocks_3 = _mm512_unpackhi_epi64(ab_high, cd_high);
    // blocks_k holds the blocks k, k + 4, k + 8 and k + 12.
    const __m512i low_01 = _mm512_shuffle_i32x4(blocks_0, blocks_1, 0x44);
    const __m512i low_23 = _mm512_shuffle_i32x4(blocks_2, blocks_3, 0x44);
    const __m512i high_01 = _mm512_shuffle_i32x4(blocks_0, blocks_1, 0xee);
    const __m512i high_23 = _mm512_shuffle_i32x4(blocks_2, blocks_3, 0xee);
    words[0] = _mm512_shuffle_i32x4(low_01, low_23, 0x88);
    words[1] = _mm512_shuffle_i32x4(low_01, low_23, 0xdd);
    words[2] = _mm512_shuffle_i32x4(high_01, high_23, 0x88);
    words[3] = _mm512_shuffle_i32x4(high_01, high_23, 0xdd);
}

// Applies `step` to every vector. Several vectors in step with each other hide the latency of each.
template <std::size_t vectors, typename Step>
void each(Step step) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < vectors; ++v) step(v);
}

// Words of blocks `block .. block + 31` as eight vectors of sixteen consecutive elements.
void philox(std::uint64_t block, std::uint64_t variant, const RoundKeys& keys, __m512i words[vectors_a_step]) {
    __m512i c0[sets], c1[sets], c2[sets], c3[sets];
    each<sets>([&](std::size_t s) {
        const __m512i start = _mm512_set1_epi64(static_cast<long long>(block + lanes * s));
        const __m512i first = _mm512_add_epi64(start, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
        const __m512i last = _mm512_add_epi64(start, _mm512_setr_epi64(8, 9, 10, 11, 12, 13, 14, 15));
        c0[s] = halves_of(first, last, 0);
        c1[s] = halves_of(first, last, 1);
        c2[s] = _mm512_set1_epi32(static_cast<int>(variant));
        c3[s] = _mm512_set1_epi32(static_cast<int>(variant >> 32));
    });
    for (int i = 0; i < noise::philox_rounds; ++i) {
        each<sets>([&](std::size_t s) {
            const Product p0 = multiply(c0[s], noise::philox_multiplier_0);
            const Product p1 = multiply(c2[s], noise::philox_multiplier_1);
            constexpr int exclusive_or = 0x96;
            c0[s] = _mm512_ternarylogic_epi32(p1.high, c1[s], keys.k0[i], exclusive_or);
            c2[s] = _mm512_ternarylogic_epi32(p0.high, c3[s], keys.k1[i], exclusive_or);
            c1[s] = p1.low;
            c3[s] = p0.low;
        });
    }
    each<sets>([&](std::size_t s) { transpose(c0[s], c1[s], c2[s], c3[s], words + 4 * s); });
}

template <std::size_t vectors>
void normal_deviates(const __m512i* words, __m512 inverse_threshold, __m512* deviates) {
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 t[vectors], x[vectors], sum[vectors], h[vectors];
    each<vectors>([&](std::size_t v) {
        const __m512 k = _mm512_cvtepi32_ps(_mm512_srli_epi32(words[v], 1));
        t[v] = _mm512_mul_ps(_mm512_add_ps(k, _mm512_set1_ps(0.5f)), inverse_threshold);
    });
    __m512i e[vectors];
    each<vectors>([&](std::size_t v) {
        const __m512 q = _mm512_mul_ps(t[v], _mm512_sub_ps(_mm512_set1_ps(2.0f), t[v]));
        const __m512i bits = _mm512_castps_si512(q);
        const __m512i sqrt_half = _mm512_set1_epi32(static_cast<int>(noise::sqrt_half_bits));
        e[v] = _mm512_srai_epi32(_mm512_sub_epi32(bits, sqrt_half), 23);
        x[v] = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(e[v], 23))), one);
        sum[v] = _mm512_mul_ps(constant(noise::log_bits[6]), x[v]);
    });
    for (int i = 5; i >= 0; --i) {
        const __m512 coefficient = constant(noise::log_bits[i]);
        each<vectors>([&](std::size_t v) { sum[v] = _mm512_mul_ps(_mm512_add_ps(sum[v], coefficient), x[v]); });
    }
    each<vectors>([&](std::size_t v) {
        const __m512 minus_w =
            _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(e[v]), constant(noise::ln2_bits)), sum[v]);
        const __m512 w = _mm512_xor_ps(minus_w, _mm512_set1_ps(-0.0f));
        // vmaxps returns its second operand, +0, unless w > 0.
        const __m512 shifted = _mm512_add_ps(_mm512_max_ps(w, _mm512_setzero_ps()), _mm512_set1_ps(4.0f));
        h[v] = _mm512_sub_ps(_mm512_sqrt_ps(shifted), _mm512_set1_ps(3.5f));
        sum[v] = constant(noise::quantile_bits[10]);
    });
    for (int i = 9; i >= 0; --i) {
        const __m512 coefficient = constant(noise::quantile_bits[i]);
        each<vectors>([&](std::size_t v) { sum[v] = _mm512_add_ps(_mm512_mul_ps(sum[v], h[v]), coefficient); });
    }
    each<vectors>([&](std::size_t v) {
        const __m512 y = _mm512_mul_ps(sum[v], _mm512_sub_ps(one, t[v]));
        deviates[v] = _mm512_xor_ps(y, _mm512_castsi512_ps(_mm512_slli_epi32(words[v], 31)));
    });
}

// Writes `vectors` vectors of elements, with noise where it falls.
template <std::size_t vectors>
void add_noise(const NoiseParameters& parameters, const __m512i* words, const float* base, float* out) {
    const __m512i threshold = _mm512_set1_epi32(static_cast<int>(parameters.threshold));
    __mmask16 noisy[vectors], any = 0;
    each<vectors>([&](std::size_t v) {
        noisy[v] = _mm512_cmplt_epu32_mask(_mm512_srli_epi32(words[v], 1), threshold);
        any = static_cast<__mmask16>(any | noisy[v]);
    });
    __m512 deviates[vectors] = {};
    if (any != 0) normal_deviates<vectors>(words, _mm512_set1_ps(parameters.inverse_threshold), deviates);
    const __m512 sigma = _mm512_set1_ps(parameters.sigma);
    each<vectors>([&](std::size_t v) {
        const __m512 value = _mm512_loadu_ps(base + lanes * v);
        const __m512 noise = _mm512_mul_ps(sigma, deviates[v]);
        _mm512_storeu_ps(out + lanes * v, _mm512_mask_add_ps(value, noisy[v], value, noise));
    });
}

// Below this threshold a vector is often spared as a whole.
constexpr std::uint32_t dense_threshold = 1u << 28;

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    // Up to the first index that begins a Philox block.
    std::size_t j = static_cast<std::size_t>((0 - first_index) & 3);
    if (j > count) j = count;
    scalar::noise_run(parameters, variant, first_index, base, out, j);
    const RoundKeys keys(parameters.seed);
    for (; j + elements_a_step <= count; j += elements_a_step) {
        __m512i words[vectors_a_step];
        philox((first_index + j) >> 2, variant, keys, words);
        if (parameters.threshold >= dense_threshold) {
            for (std::size_t v = 0; v < vectors_a_step; v += 4) {
                add_noise<4>(parameters, words + v, base + j + lanes * v, out + j + lanes * v);
            }
        } else {
            for (std::size_t v = 0; v < vectors_a_step; ++v) {
                add_noise<1>(parameters, words + v, base + j + lanes * v, out + j + lanes * v);
            }
        }
    }
    avx2::noise_run(parameters, variant, first_index + j, base + j, out + j, count - j);
}

}  // namespace vaecomp::avx512
