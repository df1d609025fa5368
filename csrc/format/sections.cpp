#include "format/sections.hpp"

#include <bit>
#include <cmath>
#include <string>

namespace vaecomp::core {
namespace {

constexpr SymbolRange int8_range{-128, 127};

template <typename Value>
Value read_value(ByteReader& reader, const char* field) {
    if constexpr (std::is_same_v<Value, float>) {
        const auto value = std::bit_cast<float>(reader.fixed<std::uint32_t>(field));
        if (!std::isfinite(value)) reader.fail(field, "is not finite");
        return value;
    } else {
        return reader.fixed<Value>(field);
    }
}

template <typename Value>
Vector<Value> read_values(ByteReader& reader, std::size_t count, const char* field) {
    if (reader.remaining() / sizeof(Value) < count) {
        reader.take(std::uint64_t{count} * sizeof(Value), field);  // fails, naming the offset
    }
    Vector<Value> values(count);
    for (Value& value : values) value = read_value<Value>(reader, field);
    return values;
}

template <typename Value>
Vector<Value> read_parameter(ByteReader& reader, std::size_t out, const char* field, bool optional) {
    const auto form = static_cast<ParameterForm>(reader.fixed<std::uint8_t>(field));
    switch (form) {
        case ParameterForm::absent:
            if (!optional) reader.fail(field, "must not be absent");
            return Vector<Value>(out);
        case ParameterForm::one: return Vector<Value>(out, read_value<Value>(reader, field));
        case ParameterForm::each: return read_values<Value>(reader, out, field);
    }
    reader.fail(field, "has an unknown form");
}

// Weights arrive input by input; the decoder wants them output by output.
template <typename Value>
Vector<Value> transposed(const Vector<Value>& values, std::size_t rows, std::size_t columns) {
    Vector<Value> result(values.size());
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t c = 0; c < columns; ++c) result[c * rows + r] = values[r * columns + c];
    }
    return result;
}

std::size_t read_width(ByteReader& reader, const char* field, std::uint64_t most = max_layer_width) {
    return static_cast<std::size_t>(reader.varint(field, 1, most));
}

// Reads `in` and `out` of layer l; `previous` is the layer's before (0 for the first).
template <typename Layer>
Layer read_layer_shape(ByteReader& reader, std::size_t previous, std::uint64_t max_out) {
    Layer layer;
    layer.in = read_width(reader, "layer's inputs");
    if (previous != 0 && layer.in != previous) reader.fail("layer's inputs", "are not the previous layer's outputs");
    layer.out = read_width(reader, "layer's outputs", max_out);
    return layer;
}

// Of a layer: its weights, and four bytes each of a bias and a scale for each output.
std::uint64_t claimed_bytes(const IntegerLayer& layer) { return (std::uint64_t{layer.in} + 8) * layer.out; }

}  // namespace

IntegerLayers read_integer_layers(ByteReader reader, std::uint64_t max_bytes, std::size_t threads) {
    const std::uint64_t count = reader.varint("layer count", 1, max_layers);
    Vector<IntegerLayer> layers;
    std::size_t table_bytes = 0;
    std::uint64_t bytes = 0;
    for (std::uint64_t l = 0; l < count; ++l) {
        const bool last = l + 1 == count;
        auto layer = read_layer_shape<IntegerLayer>(reader, l == 0 ? 0 : layers.back().out,
                                                    last ? max_outputs : max_layer_width);
        bytes += claimed_bytes(layer);
        if (bytes > max_bytes) reader.fail("layer's outputs", "claim more than 2^17 times the size of the file");
        layer.bias = read_parameter<std::int32_t>(reader, layer.out, "bias", true);
        if (!last) {
            layer.multiplier = read_parameter<std::int32_t>(reader, layer.out, "multiplier", false);
            for (const std::int32_t multiplier : layer.multiplier) {
                if (multiplier < 0) reader.fail("multiplier", "is negative");
            }
            layer.shift = read_parameter<std::uint8_t>(reader, layer.out, "shift", false);
            for (const std::uint8_t shift : layer.shift) {
                if (shift > 62) reader.fail("shift", "exceeds 62");
            }
        } else {
            layer.scale = read_parameter<float>(reader, layer.out, "scale", false);
        }
        const std::uint64_t weights = std::uint64_t{layer.in} * layer.out;
        SymbolStream stream(reader, int8_range, weights);
        if (stream.count() != weights) reader.fail("weights", "do not number inputs times outputs");
        stream.place_in(reader);
        const auto by_input = stream.decode_in<std::int8_t>(reader, threads);
        layer.weight = transposed(by_input, layer.in, layer.out);
        table_bytes += stream.table_bytes();
        layers.push_back(std::move(layer));
    }
    reader.expect_end("end");
    return {std::move(layers), table_bytes};
}

DecoderSection<IntegerDecoder> read_integer_decoder(ByteReader reader, std::uint64_t max_bytes, std::size_t threads) {
    IntegerLayers content = read_integer_layers(reader, max_bytes, threads);
    return {IntegerDecoder(std::move(content.layers)), content.table_bytes};
}

Float32Decoder read_float32_decoder(ByteReader reader) {
    const std::uint64_t count = reader.varint("layer count", 1, max_layers);
    Vector<Float32Layer> layers;
    for (std::uint64_t l = 0; l < count; ++l) {
        auto layer = read_layer_shape<Float32Layer>(reader, l == 0 ? 0 : layers.back().out, max_layer_width);
        layer.bias = read_values<float>(reader, layer.out, "bias");
        layer.weight = read_values<float>(reader, layer.in * layer.out, "weights");
        layers.push_back(std::move(layer));
    }
    reader.expect_end("end");
    return Float32Decoder(std::move(layers));
}

LatentsHeader read_latents_header(ByteReader& reader) {
    LatentsHeader header{};
    header.decoder = static_cast<std::size_t>(reader.varint("decoder section"));
    header.chunk_length = read_width(reader, "chunk length");
    header.chunks = static_cast<std::size_t>(reader.varint("chunk count", 1, max_chunks));
    header.latent = static_cast<std::size_t>(reader.varint("latent size", 1, max_latent));
    header.padding = static_cast<std::size_t>(reader.varint("padding", 0, header.chunk_length - 1));
    return header;
}

Int8Latents read_int8_latents(ByteReader& reader, const LatentsHeader& header, std::uint64_t max_symbols,
                              std::size_t threads) {
    const std::uint64_t count = std::uint64_t{header.chunks} * header.latent;
    if (count > max_symbols) reader.fail("chunk count", "claims more than 2^17 times the size of the file");
    SymbolStream stream(reader, int8_range, count);
    if (stream.count() != count) reader.fail("latents", "do not number chunks times latent size");
    stream.place_in(reader);
    reader.expect_end("end");
    const auto by_latent = stream.decode_in<std::int8_t>(reader, threads);
    return {transposed(by_latent, header.latent, header.chunks), stream.table_bytes()};
}

Vector<float> read_float32_latents(ByteReader& reader, const LatentsHeader& header) {
    Vector<float> values = read_values<float>(reader, header.chunks * header.latent, "latents");
    reader.expect_end("end");
    return values;
}

}  // namespace vaecomp::core
