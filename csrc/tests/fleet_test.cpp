// Packs and members: hashes, decoders by parts, members alone and together.
#include "encode/fleet.hpp"

#include <cstring>

#include "core/digest.hpp"
#include "core/sha256.hpp"
#include "decode/archive.hpp"
#include "encode/archive.hpp"
#include "encode/latents.hpp"
#include "encode/lossless.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

using testing::expect_error;
using testing::for_every_isa;
using testing::random_floats;
using testing::random_integers;

Sha256 sha256(Bytes bytes) {
    Sha256Hasher hasher;
    hasher.add(bytes);
    return hasher.finish();
}

// FIPS 180-4's examples, and one of every length of the last block, in two pieces.
TEST(Sha256, IsTheStandards) {
    EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hex(sha256(bytes_of("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex(sha256(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    const std::string million(1000000, 'a');
    EXPECT_EQ(hex(sha256(bytes_of(million))), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (std::size_t size = 0; size < 130; ++size) {
        const Bytes all = bytes_of(million).first(size);
        Sha256Hasher hasher;
        hasher.add(all.first(size / 3));
        hasher.add(all.subspan(size / 3));
        EXPECT_EQ(hasher.finish(), sha256(all)) << size;
    }
}

constexpr std::size_t latents = 6, rows = 300, columns = 17, elements = rows * columns;

IntegerLayer linear(std::size_t outputs, unsigned seed) {
    IntegerLayer layer;
    layer.in = latents;
    layer.out = outputs;
    layer.weight = random_integers<std::int8_t>(outputs * latents, -99, 99, seed);
    layer.bias = random_integers<std::int32_t>(outputs, -999, 999, seed + 1);
    layer.scale = Vector<float>(outputs, 0.0078125f);
    return layer;
}

TEST(IntegerDecoder, MakesSomeOutputsAsItMakesAll) {
    const std::size_t outputs = 1000, batch = 5;
    const auto z = random_integers<std::int8_t>(batch * latents, -128, 127, 7);
    for_every_isa([&](Isa) {
        const IntegerDecoder decoder({linear(outputs, 3)});
        Vector<float> all(batch * outputs);
        decoder.forward_tile(z.data(), batch, all.data());
        for (const auto& [begin, end] : {std::pair<std::size_t, std::size_t>{0, 1}, {64, 1000}, {512, 777}}) {
            Vector<float> part(batch * (end - begin));
            IntegerDecoder::Scratch scratch;
            const std::int8_t* const hidden = decoder.hidden_tile(z.data(), batch, scratch);
            decoder.output_tile(hidden, batch, begin, end, part.data(), scratch);
            for (std::size_t r = 0; r < batch; ++r) {
                EXPECT_EQ(std::memcmp(part.data() + r * (end - begin), all.data() + r * outputs + begin,
                                      (end - begin) * sizeof(float)),
                          0);
            }
        }
    });
}

// A matrix that a linear decoder changes, and a vector that nothing does.
struct Pack {
    Vector<float> base = random_floats(elements, 1), bias = random_floats(9, 2);
    IntegerLayer layer = linear(elements, 3);
    Vector<std::uint8_t> fleet, file;

    Pack() {
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

const Pack& pack() {
    static const Pack own;
    return own;
}

struct Member {
    Vector<float> values;
    Vector<std::uint8_t> file;

    explicit Member(unsigned seed) {
        const auto z = random_integers<std::int8_t>(latents, -128, 127, seed);
        values = pack().values(z);
        ByteReader reader(pack().fleet, 0, "fleet");
        const Vector<std::uint8_t> section = encode_member(read_latent_coding(reader), z);
        const NewSection sections[] = {{SectionKind::member, section}};
        Vector<Tensor> tensors(2);
        tensors[0].codec = Codec::member;
        tensors[0].digest = tensor_digest({values.data(), elements, DType::f32}, 1);
        tensors[1].codec = Codec::shared;
        const Index index = read_index(MemorySource(pack().file));
        file = write_member({index, sha256(pack().file)}, {}, sections, tensors);
    }
};

bool decodes(const Archive& archive, const Member& member, std::size_t threads) {
    Vector<float> weight(elements), bias(9);
    const Destination destinations[] = {{0, reinterpret_cast<std::uint8_t*>(weight.data())},
                                        {1, reinterpret_cast<std::uint8_t*>(bias.data())}};
    archive.decode(destinations, {.verify = true, .threads = threads});
    return std::memcmp(weight.data(), member.values.data(), elements * sizeof(float)) == 0 && bias == pack().bias;
}

TEST(Fleet, AMemberIsBaseAndDecoder) {
    const Member member(5);
    for_every_isa([&](Isa) {
        for (const std::size_t threads : {1, 3}) {
            const MemorySource pack_source(pack().file), source(member.file);
            const Archive base(pack_source), archive(source, &base);
            EXPECT_TRUE(decodes(archive, member, threads));
            archive.verify(threads);
            const Accounting bytes = archive.accounting();
            EXPECT_EQ(bytes.container + bytes.latents, member.file.size());
        }
    });
}

TEST(Fleet, AMemberNeedsItsPack) {
    const Member member(5);
    const MemorySource source(member.file);
    expect_error(ErrorCode::missing_pack, hex(sha256(pack().file)), [&] { Archive(source, nullptr); });
    // A pack, but another one.
    const Vector<std::uint8_t> empty = write_archive({}, {}, {});
    const MemorySource other_source(empty);
    const Archive other(other_source);
    expect_error(ErrorCode::missing_pack, hex(sha256(empty)), [&] { Archive(source, &other); });
}

// More than a batch, so that there are several.
TEST(Fleet, ManyMembersTogetherAreAsEachAlone) {
    const MemorySource pack_source(pack().file);
    const Archive base(pack_source);
    Vector<std::unique_ptr<Member>> members;
    Vector<std::unique_ptr<MemorySource>> sources;
    Vector<std::unique_ptr<Archive>> archives;
    Vector<Vector<float>> weights, biases;
    for (unsigned m = 0; m < 150; ++m) {
        members.push_back(std::make_unique<Member>(m));
        sources.push_back(std::make_unique<MemorySource>(members.back()->file));
        archives.push_back(std::make_unique<Archive>(*sources.back(), &base));
        weights.emplace_back(elements);
        biases.emplace_back(9);
    }
    Vector<Vector<Destination>> destinations;
    Vector<MemberDestinations> wanted;
    for (std::size_t m = 0; m < members.size(); ++m) {
        destinations.push_back({{0, reinterpret_cast<std::uint8_t*>(weights[m].data())}});
        if (m % 2 == 0) destinations.back().push_back({1, reinterpret_cast<std::uint8_t*>(biases[m].data())});
    }
    for (std::size_t m = 0; m < members.size(); ++m) wanted.push_back({*archives[m], destinations[m]});
    Archive::decode_members(wanted, {.verify = true, .threads = 3});
    for (std::size_t m = 0; m < members.size(); ++m) {
        EXPECT_EQ(std::memcmp(weights[m].data(), members[m]->values.data(), elements * sizeof(float)), 0) << m;
        EXPECT_EQ(biases[m] == pack().bias, m % 2 == 0);
    }
}

}  // namespace
}  // namespace vaecomp::core
