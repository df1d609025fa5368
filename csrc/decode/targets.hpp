// Sections that decode into a flat vector of tensors, ready to give any part of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "core/containers.hpp"
#include "format/quantized.hpp"
#include "format/sections.hpp"
#include "kernels/chunk/chunk.hpp"
#include "kernels/decoder/decoder.hpp"

namespace vaecomp::core {

// Hears of `count` elements of a target, from `first` on, that have just been written; called from several threads at
// once.
using Written = FunctionRef<void(std::size_t target, std::size_t first, std::size_t count)>;

// The parts of the flat vector, of `length` elements each, in which a wanted target lies.
Vector<std::size_t> wanted_parts(std::span<const TensorTarget> targets, std::size_t length);
// Of everything wanted in the range [begin, end) of the flat vector.
void tell(Written written, std::span<const TensorTarget> targets, std::size_t begin, std::size_t end);

// A latents section with its decoder.
struct LatentGroup {
    LatentsHeader header;
    std::variant<IntegerDecoder, Float32Decoder> decoder;
    std::variant<Vector<std::int8_t>, Vector<float>> latents;
    std::size_t decoder_table_bytes, latent_table_bytes;

    // Targets of all tensors of the section, without data where nobody asks.
    void decode(std::span<const TensorTarget> targets, std::size_t threads, Written written) const;

  private:
    void forward_tile(std::size_t first_chunk, std::size_t rows, float* values) const;
};

// What quantized values are added to: the values of a target; empty: zeros.
using BaseValues = Vector<float>;

// values[i] = base[i] + values[i]; a NaN is the canonical one.
void add_base(const float* base, std::span<float> values);
// Writes them to the target's elements from `first` on; `values` may become anything.
void write_sum(const TensorTarget& target, std::size_t first, const float* base, std::span<float> values);

// Targets as above, `bases` by target. Throws malformed if a codebook lacks a symbol.
void decode_quantized(const Source& source, const QuantizedSection& section, std::span<const BaseValues> bases,
                      std::span<const TensorTarget> targets, std::size_t threads, Written written);

}  // namespace vaecomp::core
