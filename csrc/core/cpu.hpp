// Which instruction sets this processor has and which one the kernels use.
#pragma once

#include <string_view>
#include <vector>

namespace vaecomp {

enum class Isa { scalar = 0, avx2 = 1 };

std::string_view name(Isa isa);

// From the plainest to the fastest; always begins with scalar.
std::vector<Isa> available_isas();

// The one in use: the fastest available, unless VAECOMP_ISA or set_isa names another.
// Throws invalid_argument if VAECOMP_ISA names one that is unknown or missing here.
Isa active_isa();
void set_isa(std::string_view name);

}  // namespace vaecomp
