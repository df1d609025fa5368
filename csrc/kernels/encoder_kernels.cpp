#include "kernels/encoder_kernels.hpp"

#include "core/cpu.hpp"

namespace vaecomp::core {
namespace {

constexpr EncoderKernels scalar_kernels{scalar::noise_run, scalar::add_costs, scalar::add_costs_apart,
                                        scalar::rans_encode};
#if defined(__x86_64__)
constexpr EncoderKernels avx2_kernels{avx2::noise_run, avx2::add_costs, avx2::add_costs_apart, avx2::rans_encode};
constexpr EncoderKernels avx512_kernels{avx512::noise_run, avx512::add_costs, avx512::add_costs_apart,
                                        avx2::rans_encode};
#elif defined(__AARCH64EL__)
// Compilers turn the scalar sums of costs into vectors of the baseline.
constexpr EncoderKernels neon_kernels{neon::noise_run, scalar::add_costs, scalar::add_costs_apart, scalar::rans_encode};
#endif

}  // namespace

const EncoderKernels& encoder_kernels() {
    switch (active_isa()) {
#if defined(__x86_64__)
        case Isa::avx512vnni:
        case Isa::avx512: return avx512_kernels;
        case Isa::avx2: return avx2_kernels;
#elif defined(__AARCH64EL__)
        case Isa::neondot:
        case Isa::neon: return neon_kernels;
#endif
        default: return scalar_kernels;
    }
}

}  // namespace vaecomp::core
