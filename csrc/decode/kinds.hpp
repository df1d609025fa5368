// The kinds of sections, one function and file each.
#pragma once

#include <cstddef>
#include <memory>

#include "decode/section.hpp"

namespace vaecomp::core {

std::unique_ptr<OpenSection> open_raw(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_latents(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_integer_decoder(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_float32_decoder(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_quantized(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_lossless(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_fleet(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_member(const Archive& archive, std::size_t number);
std::unique_ptr<OpenSection> open_differences(const Archive& archive, std::size_t number);

}  // namespace vaecomp::core
