#include "core/cpu.hpp"

#include <atomic>
#include <cstdlib>
#include <string>

#include "core/error.hpp"

namespace vaecomp {
namespace {

constexpr int undecided = -1;
std::atomic<int> active{undecided};

bool has_avx2() {
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
           __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
#else
    return false;
#endif
}

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

std::string_view name(Isa isa) { return isa == Isa::avx2 ? "avx2" : "scalar"; }

std::vector<Isa> available_isas() {
    std::vector<Isa> isas{Isa::scalar};
    if (has_avx2()) isas.push_back(Isa::avx2);
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

}  // namespace vaecomp
