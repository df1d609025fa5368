// The one table of kernels. Each operation has a folder: scalar.cpp is the definition, the files beside it are equal to
// it in every byte. Everything else calls kernels() and never an instruction set's function by name. Those of
// training and encoding are apart (kernels/encoder_kernels.hpp), because decoding does without them.
#pragma once

#include <array>

#include "core/cpu.hpp"
#include "kernels/add_base/add_base.hpp"
#include "kernels/chunk/convert.hpp"
#include "kernels/crc32c/crc32c.hpp"
#include "kernels/dequantize/dequantize.hpp"
#include "kernels/linear_f32/linear_f32.hpp"
#include "kernels/linear_i8/linear_i8.hpp"
#include "kernels/rans/rans.hpp"
#include "kernels/xxh64/xxh64.hpp"

namespace vaecomp::core {

struct Kernels {
    Crc32c* crc32c;
    // Conversion of contiguous runs, by narrow or wide dtype, in the order of `convertible`.
    std::array<ToFloat32*, convertible.size()> to_float32;
    std::array<FromFloat32*, convertible.size()> from_float32;
    LinearI8Layout linear_i8_layout;
    LinearI8* linear_i8;
    Requantize* requantize;
    ScaleOutput* scale_output;
    PackedLayout linear_f32_layout;
    LinearF32* linear_f32;
    RansDecode* rans_decode;
    Dequantize* dequantize;
    AddBase* add_base;
    Xxh64* xxh64;
};

// The kernels of active_isa().
const Kernels& kernels();

}  // namespace vaecomp::core
