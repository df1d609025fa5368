#include "kernels/kernels.hpp"

namespace vaecomp {
namespace {

constexpr Kernels scalar_kernels = {
    .crc32c = scalar::crc32c,
    .to_float32 = {scalar::from_f16, scalar::from_bf16, scalar::from_f32, scalar::from_f64, scalar::from_f8_e4m3fn,
                   scalar::from_f8_e5m2},
    .from_float32 = {scalar::to_f16, scalar::to_bf16, scalar::to_f32, scalar::to_f64, scalar::to_f8_e4m3fn,
                     scalar::to_f8_e5m2},
    .noise_run = scalar::noise_run,
    .linear_i8_layout = scalar::linear_i8_layout,
    .linear_i8 = scalar::linear_i8,
    .requantize = scalar::requantize,
    .scale_output = scalar::scale_output,
    .linear_f32 = scalar::linear_f32,
    .rans_decode = scalar::rans_decode,
};

#if defined(__x86_64__)
constexpr Kernels avx2_kernels = {
    .crc32c = avx2::crc32c,
    .to_float32 = {avx2::from_f16, avx2::from_bf16, scalar::from_f32, avx2::from_f64, scalar::from_f8_e4m3fn,
                   scalar::from_f8_e5m2},
    .from_float32 = {avx2::to_f16, avx2::to_bf16, scalar::to_f32, avx2::to_f64, scalar::to_f8_e4m3fn,
                     scalar::to_f8_e5m2},
    .noise_run = avx2::noise_run,
    .linear_i8_layout = avx2::linear_i8_layout,
    .linear_i8 = avx2::linear_i8,
    .requantize = avx2::requantize,
    .scale_output = avx2::scale_output,
    .linear_f32 = avx2::linear_f32,
    .rans_decode = avx2::rans_decode,
};
#endif

}  // namespace

const Kernels& kernels() {
#if defined(__x86_64__)
    if (active_isa() == Isa::avx2) return avx2_kernels;
#endif
    return scalar_kernels;
}

}  // namespace vaecomp
