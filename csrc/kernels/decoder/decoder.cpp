#include "kernels/decoder/decoder.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "core/parallel.hpp"

namespace vaecomp::core {
namespace {

// How many outputs are made at a time: few enough for the sums of a tile's rows to stay in the second-level cache.
constexpr std::size_t outputs_a_tile = 2048;
static_assert(outputs_a_tile % IntegerDecoder::output_grain == 0);

void require(bool condition, std::size_t layer, const char* problem) {
    if (!condition) {
        throw Error(ErrorCode::invalid_argument, "decoder layer " + std::to_string(layer) + ": " + problem);
    }
}

// What holds for the layers of both kinds.
template <typename Layer>
void check_shapes(const Vector<Layer>& layers) {
    if (layers.empty()) throw Error(ErrorCode::invalid_argument, "a decoder needs at least one layer");
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const Layer& layer = layers[l];
        require(layer.in > 0 && layer.out > 0, l, "has no inputs or no outputs");
        require(layer.weight.size() == layer.in * layer.out, l, "weights do not fit its shape");
        require(layer.bias.size() == layer.out, l, "biases do not fit its shape");
        require(l == 0 || layer.in == layers[l - 1].out, l, "inputs are not the previous layer's outputs");
    }
}

void pack(IntegerLayer& layer, const LinearI8Layout& layout) {
    for (std::size_t o = 0; o < layer.out; ++o) {
        // W (x + offset) - offset * (sum of W) = W x, also modulo 2^32.
        auto sum = std::uint32_t{0};
        for (std::size_t i = 0; i < layer.in; ++i) sum += static_cast<std::uint32_t>(layer.weight[o * layer.in + i]);
        const std::uint32_t moved =
            static_cast<std::uint32_t>(layer.bias[o]) - static_cast<std::uint32_t>(layout.input_offset) * sum;
        layer.bias[o] = static_cast<std::int32_t>(moved);
    }
    layer.weight = layout.weights.pack(layer.weight, layer.out, layer.in);
}

// Makes room for so many values, unless it is there already.
template <typename Value>
Value* at_least(Vector<Value>& values, std::size_t count) {
    if (values.size() < count) values.resize(count);
    return values.data();
}

}  // namespace

IntegerDecoder::IntegerDecoder(Vector<IntegerLayer> layers) : kernels_(&kernels()), layers_(std::move(layers)) {
    check_shapes(layers_);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        IntegerLayer& layer = layers_[l];
        const bool last = l + 1 == layers_.size();
        require(layer.scale.size() == (last ? layer.out : 0), l, "scales belong to the last layer, one an output");
        require(layer.multiplier.size() == (last ? 0 : layer.out) && layer.shift.size() == (last ? 0 : layer.out), l,
                "multipliers and shifts belong to hidden layers, one an output");
        for (const std::int32_t multiplier : layer.multiplier) require(multiplier >= 0, l, "a multiplier is negative");
        for (const std::uint8_t shift : layer.shift) require(shift <= 62, l, "a shift exceeds 62");
        pack(layer, kernels_->linear_i8_layout);
    }
}

void IntegerDecoder::forward_tile(const std::int8_t* latents, std::size_t rows, float* values) const {
    Scratch scratch;
    const std::int8_t* const hidden = hidden_tile(latents, rows, scratch);
    for (std::size_t begin = 0; begin < chunk_length(); begin += outputs_a_tile) {
        const std::size_t end = std::min(chunk_length(), begin + outputs_a_tile);
        output_tile(hidden, rows, begin, end, values + begin, chunk_length(), scratch);
    }
}

const std::int8_t* IntegerDecoder::hidden_tile(const std::int8_t* latents, std::size_t rows, Scratch& scratch) const {
    const std::int8_t* x = latents;
    for (std::size_t l = 0; l + 1 < layers_.size(); ++l) {
        const IntegerLayer& layer = layers_[l];
        std::int32_t* const acc = at_least(scratch.acc, rows * layer.out);
        kernels_->linear_i8(layer.weight.data(), layer.bias.data(), layer.out, layer.in, x, rows, acc);
        // The layer's inputs are no longer needed.
        std::int8_t* const y = at_least(scratch.hidden, rows * layer.out);
        kernels_->requantize(acc, rows, layer.out, layer.multiplier.data(), layer.shift.data(), y);
        x = y;
    }
    return x;
}

void IntegerDecoder::output_tile(const std::int8_t* hidden, std::size_t rows, std::size_t begin, std::size_t end,
                                 float* values, std::size_t stride, Scratch& scratch) const {
    const IntegerLayer& last = layers_.back();
    const std::size_t first_weight = kernels_->linear_i8_layout.weights.index(begin, 0, last.in);
    std::int32_t* const acc = at_least(scratch.acc, rows * (end - begin));
    kernels_->linear_i8(last.weight.data() + first_weight, last.bias.data() + begin, end - begin, last.in, hidden, rows,
                        acc);
    for (std::size_t r = 0; r < rows; ++r) {
        kernels_->scale_output(acc + r * (end - begin), 1, end - begin, last.scale.data() + begin, values + r * stride);
    }
}

Float32Decoder::Float32Decoder(Vector<Float32Layer> layers) : kernels_(&kernels()), layers_(std::move(layers)) {
    check_shapes(layers_);
    for (Float32Layer& layer : layers_) {
        layer.weight = kernels_->linear_f32_layout.pack(layer.weight, layer.out, layer.in);
    }
}

void Float32Decoder::forward_tile(const float* latents, std::size_t rows, float* values) const {
    Vector<float> hidden[2];
    const float* x = latents;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
        const Float32Layer& layer = layers_[l];
        const bool last = l + 1 == layers_.size();
        Vector<float>& next = hidden[l % 2];
        if (!last) next.resize(rows * layer.out);
        float* y = last ? values : next.data();
        kernels_->linear_f32(layer.weight.data(), layer.bias.data(), layer.out, layer.in, x, rows,
                             last ? Activation::none : Activation::relu, y);
        x = y;
    }
}

template <typename Decoder>
void forward(const Decoder& decoder, const typename Decoder::Latent* latents, std::size_t rows, float* values,
             std::size_t threads) {
    parallel_ranges(rows, rows_a_tile, threads, [&](std::size_t begin, std::size_t end) {
        decoder.forward_tile(latents + begin * decoder.latent(), end - begin, values + begin * decoder.chunk_length());
    });
}

template void forward(const IntegerDecoder&, const std::int8_t*, std::size_t, float*, std::size_t);
template void forward(const Float32Decoder&, const float*, std::size_t, float*, std::size_t);

}  // namespace vaecomp::core
