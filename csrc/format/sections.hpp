// The sections' own layouts, read and checked before anything is allocated for them.
#pragma once

#include <cstdint>

#include "core/containers.hpp"
#include "entropy/symbol_stream.hpp"
#include "format/layout.hpp"
#include "kernels/decoder/decoder.hpp"

namespace vaecomp::core {

template <typename Decoder>
struct DecoderSection {
    Decoder decoder;
    std::size_t table_bytes;  // of the section: what its entropy tables take
};

// An integer decoder's layers before they are packed for evaluation.
struct IntegerLayers {
    Vector<IntegerLayer> layers;
    std::size_t table_bytes;
};

// `max_bytes` is what the file's size allows the layers to claim.
IntegerLayers read_integer_layers(ByteReader reader, std::uint64_t max_bytes, std::size_t threads);
DecoderSection<IntegerDecoder> read_integer_decoder(ByteReader reader, std::uint64_t max_bytes, std::size_t threads);
Float32Decoder read_float32_decoder(ByteReader reader);

// Where latents begin; the latents follow in the form that the decoder's kind asks for.
struct LatentsHeader {
    std::size_t decoder, chunk_length, chunks, latent, padding;
};
LatentsHeader read_latents_header(ByteReader& reader);

struct Int8Latents {
    Vector<std::int8_t> values;  // [chunks, latent]
    std::size_t table_bytes;
};
Int8Latents read_int8_latents(ByteReader& reader, const LatentsHeader& header, std::uint64_t max_symbols,
                              std::size_t threads);
Vector<float> read_float32_latents(ByteReader& reader, const LatentsHeader& header);

}  // namespace vaecomp::core
