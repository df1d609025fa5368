// Which instruction sets this processor has and which one the kernels use.
#pragma once

#include <string_view>
#include <vector>

namespace vaecomp::core {

// avx2 includes F16C, FMA, POPCNT and SSE4.2. avx512 is F, BW, DQ and VL; avx512vnni adds VNNI. neon is Advanced SIMD
// and CRC32; neondot adds the dot products of bytes.
enum class Isa { scalar, avx2, avx512, avx512vnni, neon, neondot };

std::string_view name(Isa isa);

// From the plainest to the fastest; always begins with scalar.
std::vector<Isa> available_isas();

// The one in use: the fastest available, unless VAECOMP_ISA or set_isa names another.
// Throws invalid_argument if VAECOMP_ISA names one that is unknown or missing here.
Isa active_isa();
void set_isa(std::string_view name);

}  // namespace vaecomp::core
