// An archive with a tensor of every codec, whose values can be worked out by hand.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "core/digest.hpp"
#include "encode/archive.hpp"
#include "encode/latents.hpp"
#include "encode/lossless.hpp"
#include "encode/quantized.hpp"

namespace vaecomp::core::testing {

struct SmallArchive {
    Vector<std::uint8_t> file;
    Vector<Tensor> tensors;
    Vector<Vector<std::uint8_t>> data;  // by tensor; an alias has a copy

    void add(const char* name, Codec codec, DType dtype, const Vector<std::size_t>& shape, std::size_t section,
             const void* values) {
        Tensor tensor{};
        tensor.name = name;
        tensor.codec = codec;
        tensor.dtype = dtype;
        tensor.shape = shape;
        tensor.section = section;
        data.emplace_back(tensor.bytes());
        if (values != nullptr) std::memcpy(data.back().data(), values, tensor.bytes());
        tensor.digest = tensor_digest({data.back().data(), tensor.count(), dtype}, 1);
        tensors.push_back(std::move(tensor));
    }
    void add_alias(const char* name, std::size_t target) {
        Tensor tensor{};
        tensor.name = name;
        tensor.codec = Codec::alias;
        tensor.section = target;
        data.push_back(data[target]);
        tensors.push_back(std::move(tensor));
    }
};

// The tensors' numbers in that archive.
enum : std::size_t {
    raw_tensor,
    empty_tensor,
    scalar_tensor,
    planes_tensor,
    quantized_tensor,
    latent_tensor,
    tied_tensor
};

// The quantized tensor has `rows` rows of 100, the lossless one a quarter as many elements: with 2,000 rows both have
// several blocks.
inline SmallArchive make_small_archive(std::size_t rows) {
    SmallArchive archive;
    const std::int16_t raw[] = {1, -2, 3, -4, 5, -6, 7};
    archive.add("raw", Codec::raw, DType::i16, {3, 2}, 0, raw);
    archive.add("empty", Codec::raw, DType::f64, {0, 3}, 0, nullptr);
    archive.add("scalar", Codec::raw, DType::i16, {}, 0, raw + 6);
    Vector<std::uint8_t> raw_bytes(sizeof(raw));
    for (std::size_t i = 0; i < std::size(raw); ++i) store_le(raw_bytes.data() + 2 * i, raw[i]);

    Vector<std::uint16_t> planes(rows * 25);
    for (std::size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<std::uint16_t>(i * i);
    archive.add("planes", Codec::lossless, DType::u16, {planes.size()}, 1, planes.data());
    const PlanesSource source{{planes.size(), DType::u16}, reinterpret_cast<const std::uint8_t*>(planes.data())};

    QuantizedMatrix matrix;
    matrix.shape = {rows, 100};
    matrix.step = 0.5f;
    Vector<std::int8_t> symbols(rows * 100);
    Vector<float> values;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
        symbols[i] = static_cast<std::int8_t>(i % 101 == 0 ? i % 7 : 0);
        values.push_back(0.5f * static_cast<float>(symbols[i]));
    }
    archive.add("quantized", Codec::quantized, DType::f32, {rows, 100}, 2, values.data());
    const Symbols view(symbols);

    // The outputs of a chunk are its two inputs and their sum.
    const IntegerLayer layer{2, 3, {1, 0, 0, 1, 1, 1}, {0, 0, 0}, {}, {}, {1, 1, 1}};
    const Vector<std::int8_t> z = {1, 2, 3, 4};
    const float latent[] = {1, 2, 3, 3, 4};
    archive.add("latent", Codec::latent, DType::f32, {5}, 4, latent);
    archive.add_alias("tied", quantized_tensor);
    const std::size_t weights[] = {6}, all[] = {4};
    const std::span<const std::size_t> segments[] = {weights};

    const auto lossless = encode_lossless({&source, 1}),
               quantized = encode_quantized(std::nullopt, {&matrix, 1}, {&view, 1}),
               decoder = encode_integer_decoder({&layer, 1}, segments),
               latents = encode_int8_latents({3, 3, 2, 2, 1}, z, all);
    const Vector<NewSection> sections = {{SectionKind::raw, raw_bytes},
                                         {SectionKind::lossless, lossless},
                                         {SectionKind::quantized, quantized},
                                         {SectionKind::integer_decoder, decoder},
                                         {SectionKind::latents, latents}};
    const Vector<std::pair<std::string, std::string>> metadata = {{"key", "value"}};
    archive.file = write_archive(metadata, sections, archive.tensors);
    return archive;
}

}  // namespace vaecomp::core::testing
