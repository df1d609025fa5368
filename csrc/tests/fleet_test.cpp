// Packs and members: hashes, decoders by parts, members alone and together.
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "decode/archive.hpp"
#include "encode/differences.hpp"
#include "format/ordered.hpp"
#include "tests/small_fleet.hpp"

namespace vaecomp::core {
namespace {

using namespace testing;

// The examples of FIPS 180-4, and data with every length of the last block, in two pieces.
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

TEST(IntegerDecoder, MakesSomeOutputsAsItMakesAll) {
    const std::size_t outputs = 5000, batch = 5;
    const auto z = random_integers<std::int8_t>(batch * latents, -128, 127, 7);
    for_every_isa([&](Isa) {
        const IntegerDecoder decoder({linear(outputs, 3)});
        Vector<float> all(batch * outputs);
        decoder.forward_tile(z.data(), batch, all.data());
        for (const auto& [begin, end] :
             {std::pair<std::size_t, std::size_t>{0, 1}, {64, 1000}, {512, 777}, {0, outputs}}) {
            Vector<float> part(batch * (end - begin));
            IntegerDecoder::Scratch scratch;
            const std::int8_t* const hidden = decoder.hidden_tile(z.data(), batch, scratch);
            decoder.output_tile(hidden, batch, begin, end, part.data(), end - begin, scratch);
            for (std::size_t r = 0; r < batch; ++r) {
                EXPECT_EQ(std::memcmp(part.data() + r * (end - begin), all.data() + r * outputs + begin,
                                      (end - begin) * sizeof(float)),
                          0);
            }
        }
    });
}

bool decodes(const Archive& archive, const SmallMember& member, std::size_t threads) {
    Vector<float> weight(elements), bias(9);
    const Destination destinations[] = {{0, reinterpret_cast<std::uint8_t*>(weight.data())},
                                        {1, reinterpret_cast<std::uint8_t*>(bias.data())}};
    archive.decode(destinations, {.verify = true, .threads = threads});
    return std::memcmp(weight.data(), member.values.data(), elements * sizeof(float)) == 0 && bias == small_pack().bias;
}

TEST(Fleet, AMemberIsBaseAndDecoder) {
    const SmallMember member(5);
    for_every_isa([&](Isa) {
        for (const std::size_t threads : {1, 3}) {
            const MemorySource pack_source(small_pack().file), source(member.file);
            const Archive base(pack_source), archive(source, &base);
            EXPECT_TRUE(decodes(archive, member, threads));
            archive.verify(threads);
            const Accounting bytes = archive.accounting();
            EXPECT_EQ(bytes.container + bytes.latents, member.file.size());
        }
    });
}

TEST(Fleet, AMemberNeedsItsPack) {
    const SmallMember member(5);
    const MemorySource source(member.file);
    expect_error(ErrorCode::missing_pack, hex(sha256(small_pack().file)), [&] { Archive(source, nullptr); });
    // A pack, but another one.
    const Vector<std::uint8_t> empty = write_archive({}, {}, {});
    const MemorySource other_source(empty);
    const Archive other(other_source);
    expect_error(ErrorCode::missing_pack, hex(sha256(empty)), [&] { Archive(source, &other); });
}

// A member without a member section. All its tensors but one are the pack's.
Vector<std::uint8_t> member_without_latents(const Vector<float>& weight) {
    const PlanesSource source{{elements, DType::f32}, reinterpret_cast<const std::uint8_t*>(weight.data())};
    const Vector<std::uint8_t> planes = encode_lossless({&source, 1});
    const NewSection sections[] = {{SectionKind::lossless, planes}};
    Vector<Tensor> tensors(2);
    tensors[0].codec = Codec::lossless;
    tensors[0].digest = tensor_digest({weight.data(), elements, DType::f32}, 1);
    tensors[1].codec = Codec::shared;
    const Index index = read_index(MemorySource(small_pack().file));
    return write_member({index, sha256(small_pack().file)}, {}, sections, tensors);
}

TEST(Fleet, MembersWithoutLatentsAreDecodedWithOthers) {
    const MemorySource pack_source(small_pack().file);
    const Archive base(pack_source);
    const Vector<float> other = random_floats(elements, 8);
    const SmallMember member(5);
    const Vector<std::uint8_t> files[] = {member_without_latents(other), member.file, member_without_latents(other)};
    const Vector<float>* const expected[] = {&other, &member.values, &other};
    Vector<std::unique_ptr<MemorySource>> sources;
    Vector<std::unique_ptr<Archive>> archives;
    Vector<Vector<float>> weights(3, Vector<float>(elements));
    Vector<Destination> destinations;
    Vector<MemberDestinations> wanted;
    for (std::size_t m = 0; m < 3; ++m) {
        sources.push_back(std::make_unique<MemorySource>(files[m]));
        archives.push_back(std::make_unique<Archive>(*sources.back(), &base));
        destinations.push_back({0, reinterpret_cast<std::uint8_t*>(weights[m].data())});
    }
    for (std::size_t m = 0; m < 3; ++m) wanted.push_back({*archives[m], {&destinations[m], 1}});
    Archive::decode_members(wanted, {.verify = true, .threads = 2});
    for (std::size_t m = 0; m < 3; ++m) {
        EXPECT_EQ(std::memcmp(weights[m].data(), expected[m]->data(), elements * sizeof(float)), 0) << m;
    }
    archives[0]->verify(1);
    EXPECT_EQ(archives[0]->accounting().latents, 0u);
}

TEST(Fleet, AnArchiveThatIsNoPackHasNoMembers) {
    EXPECT_TRUE(Archive(MemorySource(small_pack().file)).is_pack());
    const Vector<std::uint8_t> empty = write_archive({}, {}, {});
    const MemorySource source(empty);
    EXPECT_FALSE(Archive(source).is_pack());
    const Index index = read_index(source);
    expect_error(ErrorCode::invalid_argument, "no fleet", [&] { write_member({index, sha256(empty)}, {}, {}, {}); });
}

// More than a batch, so that there are several.
TEST(Fleet, ManyMembersTogetherAreAsEachAlone) {
    const MemorySource pack_source(small_pack().file);
    const Archive base(pack_source);
    Vector<std::unique_ptr<SmallMember>> members;
    Vector<std::unique_ptr<MemorySource>> sources;
    Vector<std::unique_ptr<Archive>> archives;
    Vector<Vector<float>> weights, biases;
    for (unsigned m = 0; m < 150; ++m) {
        members.push_back(std::make_unique<SmallMember>(m));
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
        EXPECT_EQ(biases[m] == small_pack().bias, m % 2 == 0);
    }
}

template <typename Word>
void expect_differences_return(std::span<const Word> words) {
    for (const Word bits : words) {
        for (const Word predicted : words) {
            const std::int64_t all = difference(bits, predicted);
            for (unsigned detail = 0; detail <= max_detail; ++detail) {
                const SplitDifference parts = split(all, detail);
                EXPECT_EQ(raw_bits(parts.symbol, detail), parts.raw_bits);
                EXPECT_LE(std::abs(parts.symbol), max_symbol(detail));
                const std::uint64_t joined = join(parts.symbol, detail, parts.raw_bits, parts.raw);
                EXPECT_EQ(joined, static_cast<std::uint64_t>(all));
                EXPECT_EQ(moved(predicted, joined), bits) << bits << " from " << predicted;
            }
        }
    }
}

TEST(Differences, BringBackAnyBits) {
    const std::uint16_t narrow[] = {0, 1, 2, 0x3c00, 0x7bff, 0x7c00, 0x7fff, 0x8000, 0x8001, 0xbc00, 0xfc01, 0xffff};
    expect_differences_return<std::uint16_t>(narrow);
    const std::uint32_t single[] = {0, 1, 0x3f800000, 0x7f800000, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff};
    expect_differences_return<std::uint32_t>(single);
    constexpr std::uint64_t top = std::uint64_t{1} << 63;
    const std::uint64_t wide[] = {0, 1, top - 1, top, top + 1, ~std::uint64_t{0}, 0x3ff0000000000000};
    expect_differences_return<std::uint64_t>(wide);
}

TEST(Differences, GrowAwayFromZero) {
    const auto bits = [](float value) { return std::bit_cast<std::uint32_t>(value); };
    EXPECT_EQ(difference(bits(1.0f), bits(1.0f)), 0);
    EXPECT_EQ(difference(bits(std::nextafter(1.0f, 2.0f)), bits(1.0f)), 1);
    EXPECT_EQ(difference(bits(std::nextafter(-1.0f, -2.0f)), bits(-1.0f)), 1);
    EXPECT_EQ(difference(bits(std::nextafter(-1.0f, 0.0f)), bits(-1.0f)), -1);
    EXPECT_EQ(difference(bits(-0.0f), bits(0.0f)), -1);
    EXPECT_EQ(difference(bits(0.0f), bits(-0.0f)), -1);
}

TEST(Fleet, AMemberIsExactBitForBit) {
    const testing::DifferenceMember member;
    for_every_isa([&](Isa) {
        const MemorySource pack_source(small_pack().file), source(member.file);
        const Archive base(pack_source), archive(source, &base);
        archive.verify(3);
        Vector<float> all(elements), some(2 * columns), vector(9);
        const auto into = [](Vector<float>& to) { return reinterpret_cast<std::uint8_t*>(to.data()); };
        const Destination whole[] = {{0, into(all)}, {1, into(vector)}};
        archive.decode(whole, {.verify = true, .threads = 2});
        EXPECT_EQ(std::memcmp(all.data(), member.values.data(), elements * sizeof(float)), 0);
        EXPECT_EQ(std::memcmp(vector.data(), member.bias.data(), member.bias.size() * sizeof(float)), 0);
        const Destination part[] = {{0, into(some), 7 * columns, 2 * columns}};
        archive.decode(part, {.verify = true, .threads = 1});
        EXPECT_EQ(std::memcmp(some.data(), member.values.data() + 7 * columns, some.size() * sizeof(float)), 0);
        const Accounting account = archive.accounting();
        EXPECT_EQ(account.container + account.latents + account.weights + account.tables, member.file.size());
    });
}

}  // namespace
}  // namespace vaecomp::core
