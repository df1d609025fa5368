// Eight Philox blocks at a time give 32 consecutive elements.
#include <immintrin.h>

#include "kernels/noise/noise.hpp"

namespace vaecomp::core::avx2 {
namespace {

constexpr std::size_t lanes = 8, vectors = 4, elements_a_step = lanes * vectors;

__m256i integer(std::uint32_t bits) { return _mm256_set1_epi32(static_cast<int>(bits)); }
__m256 constant(std::uint32_t bits) { return _mm256_castsi256_ps(integer(bits)); }

// The keys of every round, the same for all counters.
struct RoundKeys {
    __m256i k0[noise::philox_rounds], k1[noise::philox_rounds];

    explicit RoundKeys(std::uint64_t seed) {
        auto low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
        for (int i = 0; i < noise::philox_rounds; ++i, low += noise::philox_weyl_0, high += noise::philox_weyl_1) {
            k0[i] = integer(low);
            k1[i] = integer(high);
        }
    }
};

// Four blocks, each in a lane of 64 bits, as products need them; the upper 32 of c0..c3 mean nothing.
struct Blocks {
    __m256i c0, c1, c2, c3;

    Blocks(__m256i numbers, __m256i variant)
        : c0(numbers), c1(_mm256_srli_epi64(numbers, 32)), c2(variant), c3(_mm256_srli_epi64(variant, 32)) {}

    void mix(__m256i k0, __m256i k1) {
        const __m256i p0 = _mm256_mul_epu32(c0, integer(noise::philox_multiplier_0));
        const __m256i p1 = _mm256_mul_epu32(c2, integer(noise::philox_multiplier_1));
        c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1), k0);
        c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3), k1);
        c1 = p1;
        c3 = p0;
    }
};

// Words `even` of the even lanes' blocks with words `odd` of the odd lanes'.
__m256i together(__m256i even, __m256i odd) { return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa); }

// The words of blocks `block .. block + 7`: lane 4q + i is block 2i + q, which saves the transposition all movements
// beyond 128 bits.
void philox(std::uint64_t block, std::uint64_t variant, const RoundKeys& keys, __m256i words[vectors]) {
    const __m256i start = _mm256_set1_epi64x(static_cast<long long>(block));
    const __m256i variants = _mm256_set1_epi64x(static_cast<long long>(variant));
    Blocks even(_mm256_add_epi64(start, _mm256_setr_epi64x(0, 4, 1, 5)), variants);
    Blocks odd(_mm256_add_epi64(start, _mm256_setr_epi64x(2, 6, 3, 7)), variants);
    for (int i = 0; i < noise::philox_rounds; ++i) {
        even.mix(keys.k0[i], keys.k1[i]);
        odd.mix(keys.k0[i], keys.k1[i]);
    }
    words[0] = together(even.c0, odd.c0);
    words[1] = together(even.c1, odd.c1);
    words[2] = together(even.c2, odd.c2);
    words[3] = together(even.c3, odd.c3);
}

struct Constants {
    __m256i threshold, last;
    __m256 scale, quiet_scale, sigma;

    explicit Constants(const NoiseParameters& parameters)
        : threshold(integer(parameters.threshold)),
          // Thresholds reach 2^31, which a signed comparison cannot hold: k <= T - 1 does as well as k < T.
          last(integer(parameters.threshold - 1)),
          scale(_mm256_set1_ps(parameters.scale)),
          quiet_scale(_mm256_set1_ps(parameters.quiet_scale)),
          sigma(_mm256_set1_ps(parameters.sigma)) {}
};

// All ones where no noise falls.
__m256i is_quiet(const Constants& constants, __m256i word) {
    return _mm256_cmpgt_epi32(_mm256_and_si256(word, integer(noise::number_mask)), constants.last);
}

// The uniform number of a word, in (0, 1], whether its position is noisy or not.
__m256 uniform_number(const Constants& constants, __m256i word, __m256i quiet) {
    const __m256i k = _mm256_and_si256(word, integer(noise::number_mask));
    const __m256i m = _mm256_sub_epi32(k, _mm256_and_si256(quiet, constants.threshold));
    const __m256 scale = _mm256_blendv_ps(constants.scale, constants.quiet_scale, _mm256_castsi256_ps(quiet));
    return _mm256_mul_ps(_mm256_add_ps(_mm256_cvtepi32_ps(m), _mm256_set1_ps(0.5f)), scale);
}

template <std::size_t terms>
__m256 polynomial(const std::uint32_t (&bits)[terms], __m256 x) {
    __m256 sum = constant(bits[terms - 1]);
    for (std::size_t i = terms - 1; i-- > 0;) sum = _mm256_add_ps(_mm256_mul_ps(sum, x), constant(bits[i]));
    return sum;
}

// sqrt(-2 ln t).
__m256 radius(__m256 t) {
    const __m256i bits = _mm256_castps_si256(t);
    const __m256i exponent =
        _mm256_and_si256(_mm256_sub_epi32(bits, integer(noise::sqrt_half_bits)), integer(noise::exponent_mask));
    const __m256 x = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_sub_epi32(bits, exponent)), _mm256_set1_ps(1.0f));
    const __m256 whole = _mm256_mul_ps(_mm256_cvtepi32_ps(exponent), constant(noise::exponent_step_bits));
    return _mm256_sqrt_ps(_mm256_add_ps(whole, _mm256_mul_ps(polynomial(noise::log_bits, x), x)));
}

struct Direction {
    __m256 cosine, sine;
};

// Cosine and sine of t quarter turns.
Direction direction(__m256 t) {
    const __m256 y = _mm256_sub_ps(t, _mm256_set1_ps(0.5f)), square = _mm256_mul_ps(y, y);
    const __m256 cosine = polynomial(noise::cosine_bits, square);
    const __m256 sine = _mm256_mul_ps(polynomial(noise::sine_bits, square), y);
    return {_mm256_sub_ps(cosine, sine), _mm256_add_ps(cosine, sine)};
}

// The noise with the word's sign. Where no noise falls it is -0, which changes nothing.
__m256 signed_noise(__m256i word, __m256i quiet, __m256 magnitude) {
    const __m256 minus_0 = constant(noise::sign_mask);
    const __m256 noise = _mm256_xor_ps(magnitude, _mm256_and_ps(_mm256_castsi256_ps(word), minus_0));
    return _mm256_blendv_ps(noise, minus_0, _mm256_castsi256_ps(quiet));
}

// What is added at the positions of the words.
void noise_of_words(const Constants& constants, const __m256i words[vectors], const __m256i quiet[vectors],
                    __m256 noise[vectors]) {
    for (std::size_t v = 0; v < vectors; v += 2) {
        const __m256 length = _mm256_mul_ps(constants.sigma, radius(uniform_number(constants, words[v], quiet[v])));
        const auto [cosine, sine] = direction(uniform_number(constants, words[v + 1], quiet[v + 1]));
        noise[v] = signed_noise(words[v], quiet[v], _mm256_mul_ps(length, cosine));
        noise[v + 1] = signed_noise(words[v + 1], quiet[v + 1], _mm256_mul_ps(length, sine));
    }
}

// To element order, from the lanes that philox() chose.
void transpose(__m256 noise[vectors]) {
    const __m256d ab_low = _mm256_castps_pd(_mm256_unpacklo_ps(noise[0], noise[1]));
    const __m256d ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(noise[0], noise[1]));
    const __m256d cd_low = _mm256_castps_pd(_mm256_unpacklo_ps(noise[2], noise[3]));
    const __m256d cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(noise[2], noise[3]));
    noise[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_low, cd_low));
    noise[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_low, cd_low));
    noise[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high));
    noise[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high));
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
        __m256i words[vectors], quiet[vectors];
        philox((first_index + j) >> 2, variant, keys, words);
        for (std::size_t v = 0; v < vectors; ++v) quiet[v] = is_quiet(constants, words[v]);
        const __m256i all =
            _mm256_and_si256(_mm256_and_si256(quiet[0], quiet[1]), _mm256_and_si256(quiet[2], quiet[3]));
        __m256 noise[vectors];
        for (__m256& vector : noise) vector = constant(noise::sign_mask);
        // Sparse noise spares most steps all but the words.
        if (_mm256_movemask_epi8(all) != -1) {
            noise_of_words(constants, words, quiet, noise);
            transpose(noise);
        }
        for (std::size_t v = 0; v < vectors; ++v) {
            const __m256 value = _mm256_loadu_ps(base + j + lanes * v);
            _mm256_storeu_ps(out + j + lanes * v, _mm256_add_ps(value, noise[v]));
        }
    }
    scalar::noise_run(parameters, variant, first_index + j, base + j, out + j, count - j);
}

}  // namespace vaecomp::core::avx2
