// The peaks of one core: multiply-adds in the widest vectors, whose operands never leave the registers, and
// std::memcpy. peaks.py compiles this file for the machine.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace {

// float32: a step is `width` fused multiply-adds.
#if defined(__AVX512F__)
struct Fma {
    using Vector = __m512;
    static constexpr const char* name = "AVX-512F";
    static constexpr int width = 16;
    static Vector all(int x) { return _mm512_set1_ps(static_cast<float>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) { return _mm512_fmadd_ps(sum, a, b); }
};
#elif defined(__AVX2__) && defined(__FMA__)
struct Fma {
    using Vector = __m256;
    static constexpr const char* name = "AVX2 and FMA";
    static constexpr int width = 8;
    static Vector all(int x) { return _mm256_set1_ps(static_cast<float>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) { return _mm256_fmadd_ps(sum, a, b); }
};
#elif defined(__ARM_NEON) && defined(__aarch64__)
struct Fma {
    using Vector = float32x4_t;
    static constexpr const char* name = "NEON";
    static constexpr int width = 4;
    static Vector all(int x) { return vdupq_n_f32(static_cast<float>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) { return vfmaq_f32(b, sum, a); }
};
#else
struct Fma {
    using Vector = float;
    static constexpr const char* name = "scalar";
    static constexpr int width = 1;
    static Vector all(int x) { return static_cast<float>(x); }
    static Vector step(Vector sum, Vector a, Vector b) { return sum * a + b; }
};
#endif

// int8: a step is `width` multiply-accumulates into int32.
#if defined(__AVX512VNNI__)
struct Dot {
    using Vector = __m512i;
    static constexpr const char* name = "AVX-512 VNNI";
    static constexpr int width = 64;
    static Vector all(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) { return _mm512_dpbusd_epi32(sum, a, b); }
};
#elif defined(__AVXVNNI__)
struct Dot {
    using Vector = __m256i;
    static constexpr const char* name = "AVX-VNNI";
    static constexpr int width = 32;
    static Vector all(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
};
#elif defined(__AVX512BW__)
struct Dot {
    using Vector = __m512i;
    static constexpr const char* name = "AVX-512BW, as int16";
    static constexpr int width = 32;
    static Vector all(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) {
        asm volatile("" : "+v"(a));  // otherwise the product would be computed once, before the loop
        return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
    }
};
#elif defined(__AVX2__)
struct Dot {
    using Vector = __m256i;
    static constexpr const char* name = "AVX2, as int16";
    static constexpr int width = 16;
    static Vector all(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
    static Vector step(Vector sum, Vector a, Vector b) {
        asm volatile("" : "+x"(a));  // otherwise the product would be computed once, before the loop
        return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    }
};
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_DOTPROD)
struct Dot {
    // The accumulators are int32 and the operands int8. Both have one type, which is reinterpreted where needed.
    using Vector = int32x4_t;
    static constexpr const char* name = "NEON sdot";
    static constexpr int width = 16;
    static Vector all(int x) { return vreinterpretq_s32_s8(vdupq_n_s8(static_cast<signed char>(x))); }
    static Vector step(Vector sum, Vector a, Vector b) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
    }
};
#else
struct Dot {
    using Vector = std::uint32_t;
    static constexpr const char* name = "scalar";
    static constexpr int width = 1;
    static Vector all(int x) { return static_cast<Vector>(x); }
    static Vector step(Vector sum, Vector a, Vector b) { return sum * a + b; }
};
#endif

// The independent sums. They are more than a multiply-add's latency times the units of a core, and fit in the
// registers.
#if defined(__aarch64__)
using Chains = std::make_index_sequence<16>;
#else
using Chains = std::make_index_sequence<12>;
#endif

// The compiler must not know these values. Otherwise it would leave the work out.
const volatile int one = 1, two = 2;

// The sums are parameters, because compilers keep arrays in memory. They end in `out`, so that none of them is left
// out. Returns the number of multiply-adds.
template <typename Operation, typename... Sums>
double chains(std::size_t steps, void* out, Sums... sums) {
    const auto a = Operation::all(one), b = Operation::all(two);
    for (std::size_t i = 0; i < steps; ++i) ((sums = Operation::step(sums, a, b)), ...);
    const typename Operation::Vector all[] = {sums...};
    std::memcpy(out, all, sizeof all);
    return static_cast<double>(steps) * sizeof...(sums) * Operation::width;
}

template <typename Operation, std::size_t... I>
double run(std::size_t steps, void* out, std::index_sequence<I...>) {
    return chains<Operation>(steps, out, Operation::all(one + static_cast<int>(I))...);
}

}  // namespace

extern "C" {

const char* fp32_name() { return Fma::name; }
const char* int8_name() { return Dot::name; }
double fp32(std::size_t steps, void* out) { return run<Fma>(steps, out, Chains()); }
double int8(std::size_t steps, void* out) { return run<Dot>(steps, out, Chains()); }
void copy(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
}
