// Batched decoder inference: latents of many chunks to the chunks' values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "core/error.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {

// Chunks that are decoded together: enough to reuse the weights from cache, few enough for their values to stay there.
inline constexpr std::size_t rows_a_tile = 24;

// One layer's parameters, as in the format. Hidden layers have multiplier and shift, the last has scale.
struct IntegerLayer {
    std::size_t in = 0, out = 0;
    Vector<std::int8_t> weight;  // [out, in]
    Vector<std::int32_t> bias;
    Vector<std::int32_t> multiplier;
    Vector<std::uint8_t> shift;
    Vector<float> scale;
};

template <typename Layer>
std::uint64_t multiplications_of(const Vector<Layer>& layers) {
    std::uint64_t sum = 0;
    for (const Layer& layer : layers) sum += std::uint64_t{layer.in} * layer.out;
    return sum;
}

class IntegerDecoder {
  public:
    using Latent = std::int8_t;
    // Packs the weights for the active instruction set. Throws invalid_argument if the layers do not fit together.
    explicit IntegerDecoder(Vector<IntegerLayer> layers);

    [[nodiscard]] std::size_t latent() const { return layers_.front().in; }
    [[nodiscard]] std::size_t chunk_length() const { return layers_.back().out; }
    [[nodiscard]] std::uint64_t multiplications() const { return multiplications_of(layers_); }  // for one chunk
    // One tile: latents [rows, latent] to values [rows, chunk_length].
    void forward_tile(const std::int8_t* latents, std::size_t rows, float* values) const;

    // The same in two steps, for some outputs at a time. The scratch is memory that one tile after another uses.
    struct Scratch {
        Vector<std::int32_t> acc;
        Vector<std::int8_t> hidden;
    };
    // The last layer's inputs for a tile: the latents if it is the only layer, else activations in the scratch.
    const std::int8_t* hidden_tile(const std::int8_t* latents, std::size_t rows, Scratch& scratch) const;
    // Outputs [begin, end) as values [rows, stride], output `begin` first. `begin` is a multiple of output_grain.
    static constexpr std::size_t output_grain = 64;
    void output_tile(const std::int8_t* hidden, std::size_t rows, std::size_t begin, std::size_t end, float* values,
                     std::size_t stride, Scratch& scratch) const;

  private:
    const Kernels* kernels_;
    Vector<IntegerLayer> layers_;  // packed
};

struct Float32Layer {
    std::size_t in = 0, out = 0;
    Vector<float> weight;  // [out, in]
    Vector<float> bias;
};

class Float32Decoder {
  public:
    using Latent = float;
    // Packs and throws as IntegerDecoder does.
    explicit Float32Decoder(Vector<Float32Layer> layers);

    [[nodiscard]] std::size_t latent() const { return layers_.front().in; }
    [[nodiscard]] std::size_t chunk_length() const { return layers_.back().out; }
    [[nodiscard]] std::uint64_t multiplications() const { return multiplications_of(layers_); }
    void forward_tile(const float* latents, std::size_t rows, float* values) const;

  private:
    const Kernels* kernels_;
    Vector<Float32Layer> layers_;  // with packed weights
};

// All rows: latents [rows, latent] to values [rows, chunk_length].
template <typename Decoder>
void forward(const Decoder& decoder, const typename Decoder::Latent* latents, std::size_t rows, float* values,
             std::size_t threads);

}  // namespace vaecomp::core
