#include "decode/archive.hpp"

#include <cstring>
#include <optional>

#include "core/digest.hpp"
#include "encode/archive.hpp"
#include "encode/byte_writer.hpp"
#include "encode/latents.hpp"
#include "encode/lossless.hpp"
#include "encode/quantized.hpp"
#include "kernels/kernels.hpp"
#include "tests/seal.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

using testing::expect_error;
using testing::reseal;

constexpr std::size_t latent = 4, chunk_length = 24, chunks = 5, padding = 7;

Vector<IntegerLayer> layers() {
    IntegerLayer hidden{latent,
                        6,
                        testing::random_integers<std::int8_t>(24, -30, 30, 1),
                        Vector<std::int32_t>(6, 9),
                        Vector<std::int32_t>(6, 1 << 20),
                        Vector<std::uint8_t>(6, 22),
                        {}};
    IntegerLayer last{6,
                      chunk_length,
                      testing::random_integers<std::int8_t>(144, -30, 30, 2),
                      Vector<std::int32_t>(chunk_length),
                      {},
                      {},
                      Vector<float>(chunk_length, 0.25f)};
    return {hidden, last};
}

// A file with two latent tensors (float32 and float16), a raw one, an empty one, three quantized ones (one has a base),
// a lossless one and an alias.
struct Sample {
    Vector<std::uint8_t> file;
    Vector<float> values;
    Vector<std::int16_t> raw = {0x0201, 0x0403, 0x0605, 0x0807};
    Vector<float> quantized, from_codebook, sum, planes;
};

Vector<QuantizedMatrix> matrices() {
    QuantizedMatrix scaled, coded;
    scaled.shape = {4, 5};
    scaled.step = 0.375f;
    scaled.level = 1;
    scaled.axes = {{{-2, 0, 1, 5}, {0, 2, 1, 0}, {0, 3, -1, 0, 2}, {1, 0, 0, 1, 2}}};
    coded.shape = {1, 6};
    coded.codebook = Codebook{-1, {-1.5f, 0.0f, 3.0f, 0.25f}};
    return {scaled, coded};
}

Vector<float> values_of(QuantizedMatrix matrix, const Vector<std::int32_t>& symbols) {
    Vector<float> values(symbols.size());
    matrix.make_scales();
    matrix.values(0, symbols, values.data());
    return values;
}

// A byte of a section to change before the file is made, so that all checksums fit.
struct Change {
    std::size_t section, at;
    std::uint8_t mask;
};

Sample make_sample(std::optional<Change> change = {}) {
    Sample sample;
    const Vector<std::int8_t> z = testing::random_integers<std::int8_t>(chunks * latent, -9, 9, 3);
    sample.values.resize(chunks * chunk_length);
    forward(IntegerDecoder(layers()), z.data(), chunks, sample.values.data(), 1);
    const std::size_t flat = chunks * chunk_length - padding, first = 60;
    Vector<std::uint8_t> half((flat - first) * 2);
    kernels().from_float32[convertible_index(DType::f16)](sample.values.data() + first, half.data(), flat - first);

    const std::size_t first_segments[] = {24}, last_segments[] = {72, 72};
    const std::span<const std::size_t> segments[] = {first_segments, last_segments};
    const Vector<std::size_t> latent_segments = {chunks * latent};
    auto decoder = encode_integer_decoder(layers(), segments);
    auto latents = encode_int8_latents({0, chunk_length, chunks, latent, padding}, z, latent_segments);

    const auto first_symbols = testing::random_integers<std::int32_t>(20, -3, 3, 4);
    const auto second_symbols = testing::random_integers<std::int32_t>(6, -1, 2, 5);
    const Vector<std::int16_t> narrow(first_symbols.begin(), first_symbols.end());
    const Vector<std::int16_t> narrow_codes(second_symbols.begin(), second_symbols.end());
    const Vector<Symbols> symbols = {narrow, narrow_codes};
    sample.quantized = values_of(matrices()[0], first_symbols);
    sample.from_codebook = values_of(matrices()[1], second_symbols);
    auto quantized = encode_quantized(std::nullopt, matrices(), symbols);

    const Vector<std::int8_t> base_z = testing::random_integers<std::int8_t>(latent, -9, 9, 6);
    const Vector<std::size_t> base_segments = {latent};
    auto base = encode_int8_latents({0, chunk_length, 1, latent, 4}, base_z, base_segments);
    QuantizedMatrix added;
    added.shape = {4, 5};
    auto added_section = encode_quantized(4, {&added, 1}, {symbols.data(), 1});
    Vector<float> base_values(chunk_length);
    forward(IntegerDecoder(layers()), base_z.data(), 1, base_values.data(), 1);
    sample.sum = values_of(added, first_symbols);
    for (std::size_t i = 0; i < sample.sum.size(); ++i) sample.sum[i] += base_values[i];

    sample.planes = {0.5f, -0.5f, 0.75f, -1.25f, 1.5f, 0.5f, 0.5f};
    const Vector<float> many(600, 0.5f);
    const PlanesSource sources[] = {
        {{sample.planes.size(), DType::f32}, reinterpret_cast<const std::uint8_t*>(sample.planes.data())},
        {{many.size(), DType::f32}, reinterpret_cast<const std::uint8_t*>(many.data())}};
    auto lossless = encode_lossless(sources);
    if (change) {
        Vector<std::uint8_t>* const changeable[] = {&decoder, &latents,       nullptr,  &quantized,
                                                    &base,    &added_section, &lossless};
        Vector<std::uint8_t>& section = *changeable[change->section];
        if (change->at >= section.size()) return {};
        section[change->at] ^= change->mask;
    }
    const Vector<std::uint8_t> raw = {1, 2, 3, 4, 5, 6, 7, 8};
    const Vector<NewSection> sections = {{SectionKind::integer_decoder, decoder},
                                         {SectionKind::latents, latents},
                                         {SectionKind::raw, raw},
                                         {SectionKind::quantized, quantized},
                                         {SectionKind::latents, base},
                                         {SectionKind::quantized, added_section},
                                         {SectionKind::lossless, lossless}};
    const Vector<Tensor> tensors = {
        {"a", Codec::latent, DType::f32, {6, 10}, 1, tensor_digest({sample.values.data(), first, DType::f32}, 1)},
        {"b", Codec::latent, DType::f16, {flat - first}, 1, tensor_digest({half.data(), flat - first, DType::f16}, 1)},
        {"raw", Codec::raw, DType::i16, {2, 2}, 2, tensor_digest({sample.raw.data(), 4, DType::i16}, 1)},
        {"empty", Codec::raw, DType::f64, {0, 3}, 2, tensor_digest({nullptr, 0, DType::f64}, 1)},
        {"quantized",
         Codec::quantized,
         DType::f32,
         {4, 5},
         3,
         tensor_digest({sample.quantized.data(), 20, DType::f32}, 1)},
        {"quantized.codebook",
         Codec::quantized,
         DType::f32,
         {6},
         3,
         tensor_digest({sample.from_codebook.data(), 6, DType::f32}, 1)},
        {"sum", Codec::quantized, DType::f32, {4, 5}, 5, tensor_digest({sample.sum.data(), 20, DType::f32}, 1)},
        {"planes", Codec::lossless, DType::f32, {7}, 6, tensor_digest({sample.planes.data(), 7, DType::f32}, 1)},
        {"planes.many", Codec::lossless, DType::f32, {600}, 6, tensor_digest({many.data(), 600, DType::f32}, 1)},
        {"tied", Codec::alias, DType::f32, {}, 0, 0},
    };
    const Vector<std::pair<std::string, std::string>> metadata = {{"format", "pt"}};
    sample.file = write_archive(metadata, sections, tensors);
    return sample;
}

void decode_everything(Bytes file) {
    const MemorySource source(file);
    const Archive archive(source);
    archive.verify(1);
}

TEST(Archive, DecodesWhatWasWritten) {
    const Sample sample = make_sample();
    testing::for_every_isa([&](Isa) {
        for (const std::size_t threads : {1u, 3u}) {
            const MemorySource source(sample.file);
            const Archive archive(source);
            ASSERT_EQ(archive.index().tensors.size(), 10u);
            EXPECT_EQ(archive.index().tensors[9].shape, (Vector<std::size_t>{6, 10}));
            Vector<float> a(60);
            Vector<std::int16_t> raw(4);
            const Vector<Destination> destinations = {{0, reinterpret_cast<std::uint8_t*>(a.data())},
                                                      {2, reinterpret_cast<std::uint8_t*>(raw.data())}};
            archive.decode(destinations, {.verify = true, .threads = threads});
            EXPECT_EQ(std::memcmp(a.data(), sample.values.data(), 240), 0);
            EXPECT_EQ(raw, sample.raw);
            Vector<float> sum(20), planes(7);
            const Vector<Destination> others = {{6, reinterpret_cast<std::uint8_t*>(sum.data())},
                                                {7, reinterpret_cast<std::uint8_t*>(planes.data())}};
            archive.decode(others, {.verify = true, .threads = threads});
            EXPECT_EQ(sum, sample.sum);
            EXPECT_EQ(planes, sample.planes);
            archive.verify(threads);
        }
    });
}

TEST(Archive, AccountsForEveryByte) {
    const Sample sample = make_sample();
    const MemorySource source(sample.file);
    const Accounting bytes = Archive(source).accounting();
    EXPECT_EQ(bytes.container + bytes.decoder + bytes.latents + bytes.weights + bytes.tables + bytes.passthrough,
              sample.file.size());
    EXPECT_GT(bytes.passthrough, 8u);
    EXPECT_GT(bytes.weights, 0u);
    EXPECT_GT(bytes.tables, 0u);
}

TEST(Archive, RefusesEveryPrefix) {
    const Sample sample = make_sample();
    for (std::size_t size = 0; size < sample.file.size(); ++size) {
        EXPECT_THROW(decode_everything({sample.file.data(), size}), Error) << size;
    }
}

TEST(Archive, RefusesEveryFlippedBit) {
    Vector<std::uint8_t> file = make_sample().file;
    for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
        const auto mask = static_cast<std::uint8_t>(1u << (bit % 8));
        file[bit / 8] ^= mask;
        EXPECT_THROW(decode_everything(file), Error) << "bit " << bit;
        file[bit / 8] ^= mask;
    }
}

TEST(Archive, SurvivesEveryByteOfTheIndexChangedUnderValidChecksums) {
    const Vector<std::uint8_t> good = make_sample().file;
    const std::size_t end = header_bytes + load_le<std::uint32_t>(good.data() + 12);
    for (std::size_t at = 0; at < end; ++at) {
        for (unsigned change = 1; change < 256; ++change) {
            Vector<std::uint8_t> file = good;
            file[at] ^= static_cast<std::uint8_t>(change);
            if (at < 12 || at >= 16) reseal(file);
            try {
                decode_everything(file);  // a changed name, say, is a valid file
            } catch (const Error&) {
            }
        }
    }
}

TEST(Archive, SurvivesEveryByteOfASectionChangedUnderValidChecksums) {
    std::size_t refused = 0, tried = 0;
    for (const std::size_t section : {0u, 1u, 3u, 4u, 5u, 6u}) {
        bool inside = true;
        for (std::size_t at = 0; inside; ++at) {
            for (const unsigned mask : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u, 255u}) {
                ++tried;
                try {
                    const Sample sample = make_sample(Change{section, at, static_cast<std::uint8_t>(mask)});
                    inside = !sample.file.empty();
                    if (!inside) break;
                    // What passes has the digests of the unchanged values: a multiplier's last bit, say, may not
                    // matter.
                    decode_everything(sample.file);
                } catch (const Error&) {
                    ++refused;
                }
            }
        }
    }
    EXPECT_GT(refused, tried * 9 / 10);
}

TEST(Archive, NamesANewerVersion) {
    Vector<std::uint8_t> file = make_sample().file;
    file[8] = 2;
    expect_error(ErrorCode::unsupported_version, "version 2", [&] { decode_everything(file); });
}

TEST(Archive, OnlyRawSectionsAreAligned) {
    const Sample sample = make_sample();
    const MemorySource source(sample.file);
    const Archive archive(source);
    std::uint64_t end = header_bytes + load_le<std::uint32_t>(sample.file.data() + 12);
    for (const Section& section : archive.index().sections) {
        if (section.kind == SectionKind::raw) {
            EXPECT_EQ(section.offset % 64, 0u);
            EXPECT_LT(section.offset - end, 64u);
        } else {
            EXPECT_EQ(section.offset, end);
        }
        end = section.offset + section.size;
    }
}

// Rows of a few bytes each that repeat a long name. The names take thousands of times as much as the file.
TEST(Archive, RefusesNamesThatExceedTheirLimitTogether) {
    const Vector<std::uint8_t> byte = {1};
    const Vector<NewSection> sections = {{SectionKind::raw, byte}};
    const String name(650000, 'n');
    Vector<Tensor> tensors = {{"x", Codec::raw, DType::u8, {}, 0, tensor_digest({byte.data(), 1, DType::u8}, 1)}};
    while (tensors.size() <= 103) {
        tensors.push_back({name + String(std::to_string(tensors.size())), Codec::alias, DType::u8, {}, 0, 0});
    }
    EXPECT_LT(write_archive({}, sections, tensors).size(), 660000u);
    tensors.push_back({name, Codec::alias, DType::u8, {}, 0, 0});
    expect_error(ErrorCode::invalid_argument, "2^26", [&] { write_archive({}, sections, tensors); });
}

TEST(Archive, HasStringsOfAnyLength) {
    const Vector<std::uint8_t> byte = {1};
    const Vector<NewSection> sections = {{SectionKind::raw, byte}};
    const std::string key(70000, 'k'), value(std::size_t{1} << 20, 'v');
    const std::pair<std::string, std::string> metadata[] = {{key, value}};
    const String name(std::size_t{1} << 20, 'n');
    const Vector<Tensor> tensors = {{name, Codec::raw, DType::u8, {}, 0, tensor_digest({byte.data(), 1, DType::u8}, 1)},
                                    {name + String("2"), Codec::alias, DType::u8, {}, 0, 0}};
    const Vector<std::uint8_t> file = write_archive(metadata, sections, tensors);
    const MemorySource source(file);
    const Index index = read_index(source);
    EXPECT_EQ(std::string_view(index.metadata.at(0).first), key);
    EXPECT_EQ(std::string_view(index.metadata.at(0).second), value);
    EXPECT_EQ(index.tensors.at(0).name, name);
    EXPECT_EQ(index.tensors.at(1).name, tensors[1].name);
    EXPECT_LT(index.tensors.at(1).quoted_name().size(), 200u);
}

// Messages have room for some hundred bytes.
TEST(Archive, CutsLongNamesBetweenCharacters) {
    Tensor tensor{};
    for (const std::size_t shift : {0, 1}) {
        tensor.name = String(shift, 'x');
        for (std::size_t i = 0; i < 100; ++i) {
            tensor.name.push_back('\xd0');
            tensor.name.push_back('\xb6');
        }
        const std::string text = tensor.quoted_name();
        EXPECT_TRUE(is_utf8(bytes_of(text)));
        EXPECT_TRUE(text.ends_with("...'"));
    }
}

TEST(Writer, RefusesPartsThatMakeNoArchive) {
    const Vector<std::uint8_t> bytes = {1, 2};
    const Vector<NewSection> sections = {{SectionKind::raw, bytes}};
    const Vector<Tensor> tensors = {{"x", Codec::raw, DType::u8, {3}, 0, 0}};
    expect_error(ErrorCode::invalid_argument, "no valid archive", [&] { write_archive({}, sections, tensors); });
}

}  // namespace
}  // namespace vaecomp::core
