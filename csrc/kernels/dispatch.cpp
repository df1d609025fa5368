#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

constexpr Kernels scalar_kernels = {
    .crc32c = scalar::crc32c,
    .to_float32 = {scalar::from_f16, scalar::from_bf16, scalar::from_f32, scalar::from_f64, scalar::from_f8_e4m3fn,
                   scalar::from_f8_e5m2},
    .from_float32 = {scalar::to_f16, scalar::to_bf16, scalar::to_f32, scalar::to_f64, scalar::to_f8_e4m3fn,
                     scalar::to_f8_e5m2},
    .linear_i8_layout = scalar::linear_i8_layout,
    .linear_i8 = scalar::linear_i8,
    .requantize = scalar::requantize,
    .scale_output = scalar::scale_output,
    .linear_f32_layout = scalar::linear_f32_layout,
    .linear_f32 = scalar::linear_f32,
    .rans_decode = scalar::rans_decode,
    .dequantize = scalar::dequantize,
    .add_base = scalar::add_base,
    .xxh64 = scalar::xxh64,
};

#if defined(__x86_64__)
constexpr Kernels avx2_kernels = {
    .crc32c = avx2::crc32c,
    .to_float32 = {avx2::from_f16, avx2::from_bf16, scalar::from_f32, avx2::from_f64, scalar::from_f8_e4m3fn,
                   scalar::from_f8_e5m2},
    .from_float32 = {avx2::to_f16, avx2::to_bf16, scalar::to_f32, avx2::to_f64, scalar::to_f8_e4m3fn,
                     scalar::to_f8_e5m2},
    .linear_i8_layout = avx2::linear_i8_layout,
    .linear_i8 = avx2::linear_i8,
    .requantize = avx2::requantize,
    .scale_output = avx2::scale_output,
    .linear_f32_layout = avx2::linear_f32_layout,
    .linear_f32 = avx2::linear_f32,
    .rans_decode = avx2::rans_decode,
    .dequantize = avx2::dequantize,
    .add_base = avx2::add_base,
    // Here a product of 64 bits takes several instructions. In general registers it takes one.
    .xxh64 = scalar::xxh64,
};

// The kernels for AVX2, with wider ones where these are faster.
constexpr Kernels with_avx512() {
    Kernels kernels = avx2_kernels;
    kernels.linear_i8_layout = avx512::linear_i8_layout;
    kernels.linear_i8 = avx512::linear_i8;
    kernels.requantize = avx512::requantize;
    kernels.scale_output = avx512::scale_output;
    kernels.linear_f32_layout = avx512::linear_f32_layout;
    kernels.linear_f32 = avx512::linear_f32;
    kernels.rans_decode = avx512::rans_decode;
    kernels.dequantize = avx512::dequantize;
    kernels.add_base = avx512::add_base;
    kernels.xxh64 = avx512::xxh64;
    return kernels;
}
constexpr Kernels avx512_kernels = with_avx512();

constexpr Kernels with_avx512vnni() {
    Kernels kernels = avx512_kernels;
    kernels.linear_i8_layout = avx512vnni::linear_i8_layout;
    kernels.linear_i8 = avx512vnni::linear_i8;
    return kernels;
}
constexpr Kernels avx512vnni_kernels = with_avx512vnni();
#elif defined(__AARCH64EL__)
constexpr Kernels neon_kernels = {
    .crc32c = neon::crc32c,
    .to_float32 = {neon::from_f16, neon::from_bf16, scalar::from_f32, neon::from_f64, scalar::from_f8_e4m3fn,
                   scalar::from_f8_e5m2},
    .from_float32 = {neon::to_f16, neon::to_bf16, scalar::to_f32, neon::to_f64, scalar::to_f8_e4m3fn,
                     scalar::to_f8_e5m2},
    .linear_i8_layout = neon::linear_i8_layout,
    .linear_i8 = neon::linear_i8,
    .requantize = neon::requantize,
    .scale_output = neon::scale_output,
    .linear_f32_layout = neon::linear_f32_layout,
    .linear_f32 = neon::linear_f32,
    // NEON has no gathers: lanes would go through the general registers to read the table, one by one, and back, where
    // the scalar form has them from the start.
    .rans_decode = scalar::rans_decode,
    .dequantize = neon::dequantize,
    .add_base = neon::add_base,
    .xxh64 = scalar::xxh64,  // as with AVX2
};

constexpr Kernels with_neondot() {
    Kernels kernels = neon_kernels;
    kernels.linear_i8_layout = neondot::linear_i8_layout;
    kernels.linear_i8 = neondot::linear_i8;
    return kernels;
}
constexpr Kernels neondot_kernels = with_neondot();
#endif

}  // namespace

const Kernels& kernels() {
    switch (active_isa()) {
#if defined(__x86_64__)
        case Isa::avx512vnni: return avx512vnni_kernels;
        case Isa::avx512: return avx512_kernels;
        case Isa::avx2: return avx2_kernels;
#elif defined(__AARCH64EL__)
        case Isa::neondot: return neondot_kernels;
        case Isa::neon: return neon_kernels;
#endif
        default: return scalar_kernels;
    }
}

}  // namespace vaecomp::core
