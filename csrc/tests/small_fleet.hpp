// A pack and members of it, whose values are worked out here.
#pragma once

#include "core/digest.hpp"
#include "core/sha256.hpp"
#include "encode/archive.hpp"
#include "encode/differences.hpp"
#include "encode/fleet.hpp"
#include "encode/latents.hpp"
#include "encode/lossless.hpp"
#include "tests/support.hpp"

namespace vaecomp::core::testing {

inline Sha256 sha256(Bytes bytes) {
    Sha256Hasher hasher;
    hasher.add(bytes);
    return hasher.finish();
}

inline constexpr std::size_t latents = 6, rows = 300, columns = 17, elements = rows * columns;

inline IntegerLayer linear(std::size_t outputs, unsigned seed) {
    IntegerLayer layer;
    layer.in = latents;
    layer.out = outputs;
    layer.weight = random_integers<std::int8_t>(outputs * latents, -99, 99, seed);
    layer.bias = random_integers<std::int32_t>(outputs, -999, 999, seed + 1);
    layer.scale = Vector<float>(outputs, 0.0078125f);
    return layer;
}

// A matrix that a linear decoder changes, and a vector that nothing does.
struct SmallPack {
    Vector<float> base = random_floats(elements, 1), bias = random_floats(9, 2);
    IntegerLayer layer = linear(elements, 3);
    Vector<std::uint8_t> fleet, file;

    SmallPack() {
        const PlanesSource sources[] = {
            {{elements, DType::f32}, reinterpret_cast<const std::uint8_t*>(base.data())},
            {{bias.size(), DType::f32}, reinterpret_cast<const std::uint8_t*>(bias.data())}};
        const std::size_t all = layer.weight.size();
        const std::span<const std::size_t> segments[] = {{&all, 1}};
        FleetGroup group{};
        group.decoder = 1;
        group.chunk_length = elements;
        group.slices = {{0, latents}};
        group.tensors = {0};
        Histogram histogram;
        for (int symbol = -128; symbol < 128; ++symbol) histogram.add(symbol);
        const LatentSegment segment{latents, histogram};
        fleet = encode_fleet({&segment, 1}, {&group, 1});
        const Vector<std::uint8_t> planes = encode_lossless(sources),
                                   decoder = encode_integer_decoder({&layer, 1}, segments);
        const NewSection sections[] = {
            {SectionKind::lossless, planes}, {SectionKind::integer_decoder, decoder}, {SectionKind::fleet, fleet}};
        Vector<Tensor> tensors(2);
        tensors[0].name = "weight";
        tensors[0].shape = {rows, columns};
        tensors[0].digest = tensor_digest({base.data(), elements, DType::f32}, 1);
        tensors[1].name = "bias";
        tensors[1].shape = {bias.size()};
        tensors[1].digest = tensor_digest({bias.data(), bias.size(), DType::f32}, 1);
        for (Tensor& tensor : tensors) {
            tensor.codec = Codec::lossless;
            tensor.dtype = DType::f32;
        }
        file = write_archive({}, sections, tensors);
    }

    [[nodiscard]] Vector<float> values(const Vector<std::int8_t>& z) const {
        Vector<float> sum = base;
        for (std::size_t o = 0; o < elements; ++o) {
            std::int32_t acc = layer.bias[o];
            for (std::size_t i = 0; i < latents; ++i) acc += layer.weight[o * latents + i] * z[i];
            sum[o] = base[o] + static_cast<float>(acc) * layer.scale[o];
        }
        return sum;
    }
};

inline const SmallPack& small_pack() {
    static const SmallPack own;
    return own;
}

// A member of that pack: its matrix with other values, and its vector.
struct SmallMember {
    Vector<float> values;
    Vector<std::uint8_t> file;

    explicit SmallMember(unsigned seed) {
        const auto z = random_integers<std::int8_t>(latents, -128, 127, seed);
        values = small_pack().values(z);
        ByteReader reader(small_pack().fleet, 0, "fleet");
        const Vector<std::uint8_t> section = encode_member(read_latent_coding(reader), z);
        const NewSection sections[] = {{SectionKind::member, section}};
        Vector<Tensor> tensors(2);
        tensors[0].codec = Codec::member;
        tensors[0].digest = tensor_digest({values.data(), elements, DType::f32}, 1);
        tensors[1].codec = Codec::shared;
        const Index index = read_index(MemorySource(small_pack().file));
        file = write_member({index, sha256(small_pack().file)}, {}, sections, tensors);
    }
};

// A member of that pack, bit for bit. The matrix is a difference from what latents make, the vector one from the
// pack's.
struct DifferenceMember {
    Vector<float> values, bias = random_floats(9, 12);
    Vector<std::uint8_t> file;

    DifferenceMember() {
        const auto z = random_integers<std::int8_t>(latents, -128, 127, 5);
        const Vector<float> predicted = small_pack().values(z), noise = random_floats(elements, 13);
        values = predicted;
        // The first row's level says that nothing changes there.
        for (std::size_t i = columns; i < elements; ++i) values[i] += noise[i] / 1024;
        const auto bytes = [](const Vector<float>& own) { return reinterpret_cast<const std::uint8_t*>(own.data()); };
        DifferenceSource weight{
            {{{rows, columns}, DType::f32}, 250, Vector<std::int16_t>(rows, 2), {}}, bytes(values), bytes(predicted)};
        weight.matrix.rows.front() = 0;
        const DifferenceSource own{{{{1, bias.size()}, DType::f32}, 0, {}, {}}, bytes(bias), bytes(small_pack().bias)};
        ByteReader reader(small_pack().fleet, 0, "fleet");
        const Vector<std::uint8_t> member = encode_member(read_latent_coding(reader), z),
                                   made = encode_differences(0, 1, {&weight, 1}),
                                   alone = encode_differences({}, 0, {&own, 1});
        const NewSection sections[] = {
            {SectionKind::member, member}, {SectionKind::differences, made}, {SectionKind::differences, alone}};
        Vector<Tensor> tensors(2);
        for (Tensor& tensor : tensors) tensor.codec = Codec::differences;
        tensors[0].section = 1;
        tensors[0].digest = tensor_digest({bytes(values), elements, DType::f32}, 1);
        tensors[1].section = 2;
        tensors[1].digest = tensor_digest({bytes(bias), bias.size(), DType::f32}, 1);
        const Index index = read_index(MemorySource(small_pack().file));
        file = write_member({index, sha256(small_pack().file)}, {}, sections, tensors);
    }
};

}  // namespace vaecomp::core::testing
