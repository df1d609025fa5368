#include "encode/latents.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "encode/symbols.hpp"
#include "format/layout.hpp"

namespace vaecomp::core {
namespace {

void write_value(ByteWriter& writer, float value) { writer.fixed(std::bit_cast<std::uint32_t>(value)); }
void write_value(ByteWriter& writer, std::integral auto value) { writer.fixed(value); }

template <typename Value>
void write_parameter(ByteWriter& writer, const Vector<Value>& values, bool may_be_absent) {
    const auto same = [&](Value wanted) {
        return std::all_of(values.begin(), values.end(), [&](Value value) {
            return std::bit_cast<std::array<std::uint8_t, sizeof(Value)>>(value) ==
                   std::bit_cast<std::array<std::uint8_t, sizeof(Value)>>(wanted);
        });
    };
    if (may_be_absent && same(Value{})) {
        writer.fixed(static_cast<std::uint8_t>(ParameterForm::absent));
    } else if (same(values.front())) {
        writer.fixed(static_cast<std::uint8_t>(ParameterForm::one));
        write_value(writer, values.front());
    } else {
        writer.fixed(static_cast<std::uint8_t>(ParameterForm::each));
        for (const Value value : values) write_value(writer, value);
    }
}

// int8 [rows, columns] as symbols, column by column.
Vector<std::int32_t> symbols_by_column(std::span<const std::int8_t> values, std::size_t rows, std::size_t columns) {
    Vector<std::int32_t> symbols;
    symbols.reserve(values.size());
    for (std::size_t c = 0; c < columns; ++c) {
        for (std::size_t r = 0; r < rows; ++r) symbols.push_back(values[r * columns + c]);
    }
    return symbols;
}

void write_latents_header(ByteWriter& writer, const LatentsShape& shape) {
    for (const std::size_t value :
         {shape.decoder_section, shape.chunk_length, shape.chunks, shape.latent, shape.padding}) {
        writer.varint(value);
    }
}

}  // namespace

Vector<std::uint8_t> encode_integer_decoder(std::span<const IntegerLayer> layers,
                                            std::span<const std::span<const std::size_t>> segments) {
    // Checks the layers as the reader's side will.
    static_cast<void>(IntegerDecoder({layers.begin(), layers.end()}));
    if (segments.size() != layers.size()) {
        throw Error(ErrorCode::invalid_argument, "segments must be given for every layer");
    }
    ByteWriter writer;
    writer.varint(layers.size());
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const IntegerLayer& layer = layers[l];
        writer.varint(layer.in);
        writer.varint(layer.out);
        write_parameter(writer, layer.bias, true);
        if (l + 1 < layers.size()) {
            write_parameter(writer, layer.multiplier, false);
            write_parameter(writer, layer.shift, false);
        } else {
            write_parameter(writer, layer.scale, false);
        }
        writer.append(encode_symbols(symbols_by_column(layer.weight, layer.out, layer.in), segments[l], 0));
    }
    return std::move(writer.bytes());
}

Vector<std::uint8_t> encode_float32_decoder(std::span<const Float32Layer> layers) {
    static_cast<void>(Float32Decoder({layers.begin(), layers.end()}));
    ByteWriter writer;
    writer.varint(layers.size());
    for (const Float32Layer& layer : layers) {
        writer.varint(layer.in);
        writer.varint(layer.out);
        for (const float value : layer.bias) write_value(writer, value);
        for (const float value : layer.weight) write_value(writer, value);
    }
    return std::move(writer.bytes());
}

Vector<std::uint8_t> encode_int8_latents(const LatentsShape& shape, std::span<const std::int8_t> latents,
                                         std::span<const std::size_t> segments) {
    ByteWriter writer;
    write_latents_header(writer, shape);
    writer.append(encode_symbols(symbols_by_column(latents, shape.chunks, shape.latent), segments, 0));
    return std::move(writer.bytes());
}

Vector<std::uint8_t> encode_float32_latents(const LatentsShape& shape, std::span<const float> latents) {
    ByteWriter writer;
    write_latents_header(writer, shape);
    for (const float value : latents) write_value(writer, value);
    return std::move(writer.bytes());
}

}  // namespace vaecomp::core
