// Decoders and latents to sections (docs/format.md, Sections).
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "kernels/decoder/decoder.hpp"

namespace vaecomp::core {

// `segments`: for each layer the lengths, in weights ordered input by input, of the parts with a table each.
Vector<std::uint8_t> encode_integer_decoder(std::span<const IntegerLayer> layers,
                                            std::span<const std::span<const std::size_t>> segments);
Vector<std::uint8_t> encode_float32_decoder(std::span<const Float32Layer> layers);

struct LatentsShape {
    std::size_t decoder_section, chunk_length, chunks, latent, padding;
};
// Latents are [chunks, latent]; `segments` are lengths in the stored order, latent by latent.
Vector<std::uint8_t> encode_int8_latents(const LatentsShape& shape, std::span<const std::int8_t> latents,
                                         std::span<const std::size_t> segments);
Vector<std::uint8_t> encode_float32_latents(const LatentsShape& shape, std::span<const float> latents);

}  // namespace vaecomp::core
