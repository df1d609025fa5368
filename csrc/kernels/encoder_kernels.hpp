// The kernels of training and encoding. They are apart from kernels(), because decoding does without them.
#pragma once

#include "kernels/add_costs/add_costs.hpp"
#include "kernels/noise/noise.hpp"
#include "kernels/rans_encode/rans_encode.hpp"

namespace vaecomp::core {

struct EncoderKernels {
    NoiseRun* noise_run;
    AddCosts* add_costs;
    AddCostsApart* add_costs_apart;
    RansEncode* rans_encode;
};

// The kernels of active_isa().
const EncoderKernels& encoder_kernels();

}  // namespace vaecomp::core
