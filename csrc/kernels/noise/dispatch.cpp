#include "core/cpu.hpp"
#include "kernels/noise/noise.hpp"

namespace vaecomp::core {

NoiseRun* noise_kernel() {
    switch (active_isa()) {
#if defined(__x86_64__)
        case Isa::avx512vnni:
        case Isa::avx512: return avx512::noise_run;
        case Isa::avx2: return avx2::noise_run;
#elif defined(__AARCH64EL__)
        case Isa::neondot:
        case Isa::neon: return neon::noise_run;
#endif
        default: return scalar::noise_run;
    }
}

}  // namespace vaecomp::core
