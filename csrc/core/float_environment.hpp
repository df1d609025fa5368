// Round to nearest even, subnormals kept: what every kernel assumes, whatever the caller has set.
#pragma once

#include <cfenv>
#include <cstdint>

#if defined(__SSE__) || defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace vaecomp::core {

class FloatEnvironment {
  public:
    FloatEnvironment() {
        std::fegetenv(&saved_);
        std::fesetenv(FE_DFL_ENV);
#if defined(__SSE__) || defined(__x86_64__)
        // All exceptions masked, nearest even, neither flush-to-zero nor denormals-are-zero.
        _mm_setcsr(0x1f80);
#elif defined(__aarch64__)
        // Likewise; NaNs keep their payload, and half precision has infinities.
        asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{0}) : "memory");
#endif
    }
    ~FloatEnvironment() { std::fesetenv(&saved_); }
    FloatEnvironment(const FloatEnvironment&) = delete;
    FloatEnvironment& operator=(const FloatEnvironment&) = delete;

  private:
    std::fenv_t saved_{};
};

}  // namespace vaecomp::core
