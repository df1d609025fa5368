#include "core/cpu.hpp"

#include <atomic>
#include <cstdlib>
#include <string>

#include "core/error.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif
#if defined(__AARCH64EL__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace vaecomp::core {
namespace {

constexpr int undecided = -1;
std::atomic<int> active{undecided};

#if defined(__x86_64__) && defined(__GNUC__)
// __builtin_cpu_supports does not know it in Clang 14.
bool has_f16c() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

bool has_avx2() {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
           __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
#else
    return false;
#endif
}

bool has_avx512() {
#if defined(__x86_64__) && defined(__GNUC__)
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

bool has_avx512vnni() {
#if defined(__x86_64__) && defined(__GNUC__)
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

#if defined(__AARCH64EL__) && defined(__linux__)
bool has_neon() { return (getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0 && (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
bool has_neondot() { return has_neon() && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#elif defined(__AARCH64EL__) && defined(__APPLE__)
// Every AArch64 processor that macOS has run on has both.
bool has_neon() { return true; }
bool has_neondot() { return true; }
#else
bool has_neon() { return false; }
bool has_neondot() { return false; }
#endif

Isa parse_isa(std::string_view wanted, std::string_view source) {
    std::string choices;
    for (const Isa isa : available_isas()) {
        if (wanted == name(isa)) return isa;
        choices += (choices.empty() ? "" : ", ") + std::string(name(isa));
    }
    throw Error(ErrorCode::invalid_argument, std::string(source) + ": instruction set '" + std::string(wanted) +
                                                 "' is not available here; choose one of " + choices);
}

}  // namespace

std::string_view name(Isa isa) {
    switch (isa) {
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
        case Isa::avx512vnni: return "avx512vnni";
        case Isa::neon: return "neon";
        case Isa::neondot: return "neondot";
        case Isa::scalar: break;
    }
    return "scalar";
}

std::vector<Isa> available_isas() {
    std::vector<Isa> isas{Isa::scalar};
    if (has_avx2()) isas.push_back(Isa::avx2);
    if (has_avx512()) isas.push_back(Isa::avx512);
    if (has_avx512vnni()) isas.push_back(Isa::avx512vnni);
    if (has_neon()) isas.push_back(Isa::neon);
    if (has_neondot()) isas.push_back(Isa::neondot);
    return isas;
}

Isa active_isa() {
    int isa = active.load(std::memory_order_relaxed);
    if (isa == undecided) {
        const char* forced = std::getenv("VAECOMP_ISA");
        isa = static_cast<int>(forced && *forced ? parse_isa(forced, "VAECOMP_ISA") : available_isas().back());
        active.store(isa, std::memory_order_relaxed);
    }
    return static_cast<Isa>(isa);
}

void set_isa(std::string_view name) {
    active.store(static_cast<int>(parse_isa(name, "set_isa")), std::memory_order_relaxed);
}

}  // namespace vaecomp::core
