// Twice sixteen Philox blocks at a time give 128 consecutive elements.
#include <immintrin.h>

#include "kernels/noise/noise.hpp"

namespace vaecomp::core::avx512 {
namespace {

constexpr std::size_t lanes = 16;
// Of sixteen blocks, one word of each in a vector. Two sets in step hide the latency of each other's instructions.
constexpr std::size_t sets = 2, vectors = 4 * sets, pairs = vectors / 2, elements_a_step = lanes * vectors;

__m512i integer(std::uint32_t bits) { return _mm512_set1_epi32(static_cast<int>(bits)); }
__m512 constant(std::uint32_t bits) { return _mm512_castsi512_ps(integer(bits)); }

// Calls `step` with every number below `count`.
template <std::size_t count, typename Step>
void each(Step step) {
#pragma GCC unroll 8
    for (std::size_t i = 0; i < count; ++i) step(i);
}

// The keys of every round, the same for all counters.
struct RoundKeys {
    __m512i k0[noise::philox_rounds], k1[noise::philox_rounds];

    explicit RoundKeys(std::uint64_t seed) {
        auto low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
        for (int i = 0; i < noise::philox_rounds; ++i, low += noise::philox_weyl_0, high += noise::philox_weyl_1) {
            k0[i] = integer(low);
            k1[i] = integer(high);
        }
    }
};

// The words of blocks `block .. block + 31`: lane 4q + i of a set is its block 4i + q, which saves the transposition
// all movements beyond 128 bits. Each block is computed in a lane of 64 bits, as products need them; the upper 32 of
// c0..c3 mean nothing.
void philox(std::uint64_t block, std::uint64_t variant, const RoundKeys& keys, __m512i words[vectors]) {
    constexpr std::size_t halves = 2 * sets;
    const __m512i even_lanes = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i odd_lanes = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    const __m512i multiplier_0 = _mm512_set1_epi64(noise::philox_multiplier_0);
    const __m512i multiplier_1 = _mm512_set1_epi64(noise::philox_multiplier_1);
    __m512i c0[halves], c1[halves], c2[halves], c3[halves];
    each<halves>([&](std::size_t h) {
        const __m512i start = _mm512_set1_epi64(static_cast<long long>(block + lanes * (h / 2)));
        c0[h] = _mm512_add_epi64(start, h % 2 == 0 ? even_lanes : odd_lanes);
        c1[h] = _mm512_srli_epi64(c0[h], 32);
        c2[h] = _mm512_set1_epi64(static_cast<long long>(variant));
        c3[h] = _mm512_srli_epi64(c2[h], 32);
    });
    for (int i = 0; i < noise::philox_rounds; ++i) {
        each<halves>([&](std::size_t h) {
            const __m512i p0 = _mm512_mul_epu32(c0[h], multiplier_0), p1 = _mm512_mul_epu32(c2[h], multiplier_1);
            constexpr int exclusive_or = 0x96;
            c0[h] = _mm512_ternarylogic_epi32(_mm512_srli_epi64(p1, 32), c1[h], keys.k0[i], exclusive_or);
            c2[h] = _mm512_ternarylogic_epi32(_mm512_srli_epi64(p0, 32), c3[h], keys.k1[i], exclusive_or);
            c1[h] = p1;
            c3[h] = p0;
        });
    }
    const auto together = [](const __m512i* c) { return _mm512_mask_shuffle_epi32(c[0], 0xaaaa, c[1], _MM_PERM_CCAA); };
    each<sets>([&](std::size_t s) {
        words[4 * s] = together(c0 + 2 * s);
        words[4 * s + 1] = together(c1 + 2 * s);
        words[4 * s + 2] = together(c2 + 2 * s);
        words[4 * s + 3] = together(c3 + 2 * s);
    });
}

struct Constants {
    __m512i threshold;
    __m512 scale, quiet_scale, sigma;

    explicit Constants(const NoiseParameters& parameters)
        : threshold(integer(parameters.threshold)),
          scale(_mm512_set1_ps(parameters.scale)),
          quiet_scale(_mm512_set1_ps(parameters.quiet_scale)),
          sigma(_mm512_set1_ps(parameters.sigma)) {}
};

__mmask16 is_noisy(const Constants& constants, __m512i word) {
    return _mm512_cmplt_epu32_mask(_mm512_and_si512(word, integer(noise::number_mask)), constants.threshold);
}

// The uniform number of a word, in (0, 1], whether its position is noisy or not.
__m512 uniform_number(const Constants& constants, __m512i word, __mmask16 noisy) {
    const __m512i k = _mm512_and_si512(word, integer(noise::number_mask));
    const __m512i m = _mm512_mask_sub_epi32(k, _knot_mask16(noisy), k, constants.threshold);
    const __m512 scale = _mm512_mask_blend_ps(noisy, constants.quiet_scale, constants.scale);
    return _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(m), _mm512_set1_ps(0.5f)), scale);
}

template <std::size_t terms>
void polynomials(const std::uint32_t (&bits)[terms], const __m512 x[pairs], __m512 sums[pairs]) {
    each<pairs>([&](std::size_t p) { sums[p] = constant(bits[terms - 1]); });
    for (std::size_t i = terms - 1; i-- > 0;) {
        each<pairs>([&](std::size_t p) { sums[p] = _mm512_add_ps(_mm512_mul_ps(sums[p], x[p]), constant(bits[i])); });
    }
}

// sqrt(-2 ln t).
void radii(const __m512 t[pairs], __m512 results[pairs]) {
    __m512 x[pairs], whole[pairs], sums[pairs];
    each<pairs>([&](std::size_t p) {
        const __m512i bits = _mm512_castps_si512(t[p]);
        const __m512i exponent =
            _mm512_and_si512(_mm512_sub_epi32(bits, integer(noise::sqrt_half_bits)), integer(noise::exponent_mask));
        x[p] = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_sub_epi32(bits, exponent)), _mm512_set1_ps(1.0f));
        whole[p] = _mm512_mul_ps(_mm512_cvtepi32_ps(exponent), constant(noise::exponent_step_bits));
    });
    polynomials(noise::log_bits, x, sums);
    each<pairs>(
        [&](std::size_t p) { results[p] = _mm512_sqrt_ps(_mm512_add_ps(whole[p], _mm512_mul_ps(sums[p], x[p]))); });
}

// Cosine and sine of t quarter turns.
void directions(const __m512 t[pairs], __m512 cosines[pairs], __m512 sines[pairs]) {
    __m512 y[pairs], squares[pairs], even[pairs], odd[pairs];
    each<pairs>([&](std::size_t p) {
        y[p] = _mm512_sub_ps(t[p], _mm512_set1_ps(0.5f));
        squares[p] = _mm512_mul_ps(y[p], y[p]);
    });
    polynomials(noise::cosine_bits, squares, even);
    polynomials(noise::sine_bits, squares, odd);
    each<pairs>([&](std::size_t p) {
        const __m512 sine = _mm512_mul_ps(odd[p], y[p]);
        cosines[p] = _mm512_sub_ps(even[p], sine);
        sines[p] = _mm512_add_ps(even[p], sine);
    });
}

// The noise with the word's sign. Where no noise falls it is -0, which changes nothing.
__m512 signed_noise(__m512i word, __mmask16 noisy, __m512 magnitude) {
    constexpr int a_and_b_exclusive_or_c = 0x6a;
    return _mm512_castsi512_ps(_mm512_mask_ternarylogic_epi32(integer(noise::sign_mask), noisy, word,
                                                              _mm512_castps_si512(magnitude), a_and_b_exclusive_or_c));
}

// What is added at the words' positions.
void noise_of_words(const Constants& constants, const __m512i words[vectors], const __mmask16 noisy[vectors],
                    __m512 noise[vectors]) {
    __m512 first[pairs], second[pairs], lengths[pairs], cosines[pairs], sines[pairs];
    each<pairs>([&](std::size_t p) {
        first[p] = uniform_number(constants, words[2 * p], noisy[2 * p]);
        second[p] = uniform_number(constants, words[2 * p + 1], noisy[2 * p + 1]);
    });
    radii(first, lengths);
    directions(second, cosines, sines);
    each<pairs>([&](std::size_t p) {
        const __m512 length = _mm512_mul_ps(constants.sigma, lengths[p]);
        noise[2 * p] = signed_noise(words[2 * p], noisy[2 * p], _mm512_mul_ps(length, cosines[p]));
        noise[2 * p + 1] = signed_noise(words[2 * p + 1], noisy[2 * p + 1], _mm512_mul_ps(length, sines[p]));
    });
}

// To element order, from the lanes that philox() chose.
void transpose(__m512 set[4]) {
    const __m512d ab_low = _mm512_castps_pd(_mm512_unpacklo_ps(set[0], set[1]));
    const __m512d ab_high = _mm512_castps_pd(_mm512_unpackhi_ps(set[0], set[1]));
    const __m512d cd_low = _mm512_castps_pd(_mm512_unpacklo_ps(set[2], set[3]));
    const __m512d cd_high = _mm512_castps_pd(_mm512_unpackhi_ps(set[2], set[3]));
    set[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_low, cd_low));
    set[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_low, cd_low));
    set[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
    set[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
}

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    // Up to the first index that begins a Philox block.
    std::size_t j = static_cast<std::size_t>((0 - first_index) & 3);
    if (j > count) j = count;
    scalar::noise_run(parameters, variant, first_index, base, out, j);
    const RoundKeys keys(parameters.seed);
    const Constants constants(parameters);
    for (; j + elements_a_step <= count; j += elements_a_step) {
        __m512i words[vectors];
        philox((first_index + j) >> 2, variant, keys, words);
        __mmask16 noisy[vectors], any = 0;
        each<vectors>([&](std::size_t v) {
            noisy[v] = is_noisy(constants, words[v]);
            any = _kor_mask16(any, noisy[v]);
        });
        __m512 noise[vectors];
        each<vectors>([&](std::size_t v) { noise[v] = constant(noise::sign_mask); });
        // Sparse noise spares most steps all but the words.
        if (any != 0) {
            noise_of_words(constants, words, noisy, noise);
            each<sets>([&](std::size_t s) { transpose(noise + 4 * s); });
        }
        each<vectors>([&](std::size_t v) {
            const __m512 value = _mm512_loadu_ps(base + j + lanes * v);
            _mm512_storeu_ps(out + j + lanes * v, _mm512_add_ps(value, noise[v]));
        });
    }
    avx2::noise_run(parameters, variant, first_index + j, base + j, out + j, count - j);
}

}  // namespace vaecomp::core::avx512
