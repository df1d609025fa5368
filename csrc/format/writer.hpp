// Making archives: the encoders of each section and the file around them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/containers.hpp"
#include "format/index.hpp"
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

struct NewSection {
    SectionKind kind;
    Bytes bytes;
};

// The whole file. Of each tensor all fields but `first` count; the result is read back through read_index, so that
// nothing is ever written that the reader refuses.
Vector<std::uint8_t> write_archive(std::span<const std::pair<std::string, std::string>> metadata,
                                   std::span<const NewSection> sections, std::span<const Tensor> tensors);

}  // namespace vaecomp::core
