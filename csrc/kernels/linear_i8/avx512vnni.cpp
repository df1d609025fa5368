// vpdpbusd: four products of an unsigned and a signed byte, exact, added to a sum modulo 2^32. Inputs become
// unsigned by an offset of 128.
#include <immintrin.h>
#include <string.h>

#include "kernels/linear_i8/avx512.hpp"
#include "kernels/linear_i8/blocked.hpp"

namespace vaecomp::core::avx512vnni {
namespace {

struct Vector : IntegerSums {
    using Weights = __m512i;
    using Inputs = __m512i;
    using Element = std::uint8_t;
    static constexpr std::size_t inputs = 4;

    static Weights weights(const std::int8_t* at) { return _mm512_loadu_si512(at); }
    static Element element(std::int8_t x) { return static_cast<std::uint8_t>(x ^ -128); }
    static Inputs broadcast(const Element* four) {
        int bits;
        memcpy(&bits, four, sizeof(bits));
        return _mm512_set1_epi32(bits);
    }
    static Sum multiply_add(Sum sum, Weights weights, Inputs input) { return _mm512_dpbusd_epi32(sum, input, weights); }
};

}  // namespace

void linear_i8(const std::int8_t* packed, const std::int32_t* bias, std::size_t out, std::size_t in,
               const std::int8_t* x, std::size_t rows, std::int32_t* acc) {
    BlockedLinearI8<Vector>::run(packed, bias, out, in, x, rows, acc);
}

}  // namespace vaecomp::core::avx512vnni
