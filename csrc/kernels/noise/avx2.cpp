// Eight Philox counters at a time give 32 consecutive elements.
#include <immintrin.h>

#include "kernels/noise/noise.hpp"

namespace vaecomp::avx2 {
namespace {

constexpr std::size_t elements_a_step = 32;

__m256 constant(std::uint32_t bits) { return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(bits))); }

struct Product {
    __m256i low, high;
};

// 32 x 32 -> 64 bits in each of eight lanes.
Product multiply(__m256i a, std::uint32_t b) {
    const __m256i factor = _mm256_set1_epi32(static_cast<int>(b));
    const __m256i even = _mm256_mul_epu32(a, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
    return {_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa),
            _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa)};
}

// The keys of every round, the same for all counters.
struct RoundKeys {
    __m256i k0[noise::philox_rounds], k1[noise::philox_rounds];

    explicit RoundKeys(std::uint64_t seed) {
        auto low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
        for (int i = 0; i < noise::philox_rounds; ++i, low += noise::philox_weyl_0, high += noise::philox_weyl_1) {
            k0[i] = _mm256_set1_epi32(static_cast<int>(low));
            k1[i] = _mm256_set1_epi32(static_cast<int>(high));
        }
    }
};

// Low (0x88) or high (0xdd) halves of eight 64-bit numbers, in order.
template <int halves>
__m256i halves_of(__m256i first, __m256i last) {
    const __m256 mixed = _mm256_shuffle_ps(_mm256_castsi256_ps(first), _mm256_castsi256_ps(last), halves);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
}

// Words of blocks `block .. block + 7` as four vectors of eight consecutive elements.
void philox(std::uint64_t block, std::uint64_t variant, const RoundKeys& keys, __m256i words[4]) {
    const __m256i start = _mm256_set1_epi64x(static_cast<long long>(block));
    const __m256i first = _mm256_add_epi64(start, _mm256_setr_epi64x(0, 1, 2, 3));
    const __m256i last = _mm256_add_epi64(start, _mm256_setr_epi64x(4, 5, 6, 7));
    __m256i c0 = halves_of<0x88>(first, last), c1 = halves_of<0xdd>(first, last);
    __m256i c2 = _mm256_set1_epi32(static_cast<int>(variant));
    __m256i c3 = _mm256_set1_epi32(static_cast<int>(variant >> 32));
    for (int i = 0; i < noise::philox_rounds; ++i) {
        const Product p0 = multiply(c0, noise::philox_multiplier_0), p1 = multiply(c2, noise::philox_multiplier_1);
        c0 = _mm256_xor_si256(_mm256_xor_si256(p1.high, c1), keys.k0[i]);
        c2 = _mm256_xor_si256(_mm256_xor_si256(p0.high, c3), keys.k1[i]);
        c1 = p1.low;
        c3 = p0.low;
    }
    // Lane b of c0..c3 holds block b's four words; transpose to element order.
    const __m256i ab_low = _mm256_unpacklo_epi32(c0, c1), ab_high = _mm256_unpackhi_epi32(c0, c1);
    const __m256i cd_low = _mm256_unpacklo_epi32(c2, c3), cd_high = _mm256_unpackhi_epi32(c2, c3);
    const __m256i blocks_04 = _mm256_unpacklo_epi64(ab_low, cd_low), blocks_15 = _mm256_unpackhi_epi64(ab_low, cd_low);
    const __m256i blocks_26 = _mm256_unpacklo_epi64(ab_high, cd_high);
    const __m256i blocks_37 = _mm256_unpackhi_epi64(ab_high, cd_high);
    words[0] = _mm256_permute2x128_si256(blocks_04, blocks_15, 0x20);
    words[1] = _mm256_permute2x128_si256(blocks_26, blocks_37, 0x20);
    words[2] = _mm256_permute2x128_si256(blocks_04, blocks_15, 0x31);
    words[3] = _mm256_permute2x128_si256(blocks_26, blocks_37, 0x31);
}

__m256 normal_deviate(__m256i word, __m256 inverse_threshold) {
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 k = _mm256_cvtepi32_ps(_mm256_srli_epi32(word, 1));
    const __m256 t = _mm256_mul_ps(_mm256_add_ps(k, _mm256_set1_ps(0.5f)), inverse_threshold);
    const __m256 q = _mm256_mul_ps(t, _mm256_sub_ps(_mm256_set1_ps(2.0f), t));
    const __m256i bits = _mm256_castps_si256(q);
    const __m256i e =
        _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(static_cast<int>(noise::sqrt_half_bits))), 23);
    const __m256 x = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(e, 23))), one);
    __m256 log = _mm256_mul_ps(constant(noise::log_bits[6]), x);
    for (int i = 5; i >= 0; --i) log = _mm256_mul_ps(_mm256_add_ps(log, constant(noise::log_bits[i])), x);
    const __m256 minus_w = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(e), constant(noise::ln2_bits)), log);
    const __m256 w = _mm256_xor_ps(minus_w, _mm256_set1_ps(-0.0f));
    // vmaxps returns its second operand, +0, unless w > 0.
    const __m256 shifted = _mm256_add_ps(_mm256_max_ps(w, _mm256_setzero_ps()), _mm256_set1_ps(4.0f));
    const __m256 h = _mm256_sub_ps(_mm256_sqrt_ps(shifted), _mm256_set1_ps(3.5f));
    __m256 p = constant(noise::quantile_bits[10]);
    for (int i = 9; i >= 0; --i) p = _mm256_add_ps(_mm256_mul_ps(p, h), constant(noise::quantile_bits[i]));
    const __m256 y = _mm256_mul_ps(p, _mm256_sub_ps(one, t));
    return _mm256_xor_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(word, 31)));
}

}  // namespace

void noise_run(const NoiseParameters& parameters, std::uint64_t variant, std::uint64_t first_index, const float* base,
               float* out, std::size_t count) {
    // Up to the first index that begins a Philox block.
    std::size_t j = static_cast<std::size_t>((0 - first_index) & 3);
    if (j > count) j = count;
    scalar::noise_run(parameters, variant, first_index, base, out, j);
    const RoundKeys keys(parameters.seed);
    const __m256 inverse_threshold = _mm256_set1_ps(parameters.inverse_threshold);
    const __m256 sigma = _mm256_set1_ps(parameters.sigma);
    // Thresholds reach 2^31, which a signed comparison cannot hold: compare k <= T - 1.
    const __m256i last = _mm256_set1_epi32(static_cast<int>(parameters.threshold - 1));
    for (; parameters.threshold > 0 && j + elements_a_step <= count; j += elements_a_step) {
        __m256i words[4];
        philox((first_index + j) >> 2, variant, keys, words);
        for (std::size_t i = 0; i < 4; ++i) {
            __m256 value = _mm256_loadu_ps(base + j + 8 * i);
            const __m256i untouched = _mm256_cmpgt_epi32(_mm256_srli_epi32(words[i], 1), last);
            if (_mm256_movemask_epi8(untouched) != -1) {
                const __m256 deviate = normal_deviate(words[i], inverse_threshold);
                const __m256 noisy = _mm256_add_ps(value, _mm256_mul_ps(sigma, deviate));
                value = _mm256_blendv_ps(noisy, value, _mm256_castsi256_ps(untouched));
            }
            _mm256_storeu_ps(out + j + 8 * i, value);
        }
    }
    scalar::noise_run(parameters, variant, first_index + j, base + j, out + j, count - j);
}

}  // namespace vaecomp::avx2
