#include <numeric>

#include "entropy/symbol_stream.hpp"
#include "tests/support.hpp"

namespace vaecomp {
namespace {

using testing::expect_error;
constexpr SymbolStream::Range any{-2147483647 - 1, 2147483647};

std::vector<std::int32_t> decoded(const std::vector<std::uint8_t>& bytes, std::size_t threads = 1) {
    ByteReader reader(bytes, 0, "stream");
    const SymbolStream stream(reader, any, 1u << 24);
    reader.expect_end("end");
    std::vector<std::int32_t> symbols(stream.count());
    stream.decode<std::int32_t>(symbols, threads);
    return symbols;
}

TEST(FrequencyTable, SumsUpAndKeepsRareSymbols) {
    std::vector<std::int32_t> symbols(1000000, 7);
    symbols[5] = -3;
    const FrequencyTable table = make_table(symbols);
    EXPECT_EQ(table.first, -3);
    EXPECT_EQ(std::accumulate(table.frequencies.begin(), table.frequencies.end(), 0), 4096);
    EXPECT_EQ(table.frequencies.front(), 1);
    EXPECT_EQ(table.frequencies[1], 0);
    EXPECT_EQ(table.frequencies.back(), 4095);
}

TEST(SymbolStream, RoundTripsOverSizesLanesAndSegments) {
    for (const std::size_t count : {0u, 1u, 2u, 31u, 1000u, 65535u, 65536u, 65537u, 200000u}) {
        const auto symbols = testing::random_integers<std::int32_t>(count, -20, 30, static_cast<unsigned>(count));
        for (const std::size_t lanes : {0u, 1u, 8u, 32u}) {
            const std::vector<std::size_t> segments =
                count == 0 ? std::vector<std::size_t>{}
                           : (count < 3 ? std::vector<std::size_t>{count}
                                        : std::vector<std::size_t>{1, count / 2, count - 1 - count / 2});
            const auto bytes = encode_symbols(symbols, segments, lanes);
            testing::for_every_isa([&](Isa) {
                EXPECT_EQ(decoded(bytes, 1), symbols);
                EXPECT_EQ(decoded(bytes, 3), symbols);
            });
        }
    }
}

TEST(SymbolStream, NoPrefixAndNoExtensionDecodes) {
    const auto symbols = testing::random_integers<std::int32_t>(300, 0, 9, 1);
    const std::vector<std::size_t> segments = {100, 200};
    std::vector<std::uint8_t> bytes = encode_symbols(symbols, segments, 8);
    testing::for_every_isa([&](Isa) {
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            EXPECT_THROW(decoded({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}), Error) << size;
        }
    });
    bytes.push_back(0);
    EXPECT_THROW(decoded(bytes), Error);
}

TEST(SymbolStream, SeesEveryFlippedBitOfItsBlocks) {
    const auto symbols = testing::random_integers<std::int32_t>(200, 0, 3, 2);
    const std::vector<std::size_t> segments = {200};
    const std::vector<std::uint8_t> bytes = encode_symbols(symbols, segments, 2);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        std::vector<std::uint8_t> changed = bytes;
        changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1u << (bit % 8)));
        // A changed table may still describe valid symbols; nothing may come out as it went in by accident and pass.
        try {
            EXPECT_NE(decoded(changed), symbols) << bit;
        } catch (const Error&) {
        }
    }
}

TEST(SymbolStream, RefusesACountBeyondTheCap) {
    ByteWriter writer;
    writer.varint(std::uint64_t{1} << 40);
    expect_error(ErrorCode::malformed, "count", [&] {
        ByteReader reader(writer.bytes(), 0, "stream");
        const SymbolStream stream(reader, any, 1000);
    });
}

TEST(Encoder, RefusesSegmentsThatDoNotFit) {
    const std::vector<std::int32_t> symbols = {1, 2, 3};
    const std::vector<std::size_t> wrong = {1, 1}, zero = {3, 0}, all = {3}, wraps = {~std::size_t{4}, 8};
    expect_error(ErrorCode::invalid_argument, "segments", [&] { encode_symbols(symbols, wraps, 1); });
    expect_error(ErrorCode::invalid_argument, "segments", [&] { encode_symbols(symbols, wrong, 1); });
    expect_error(ErrorCode::invalid_argument, "segments", [&] { encode_symbols(symbols, zero, 1); });
    expect_error(ErrorCode::invalid_argument, "lanes", [&] { encode_symbols(symbols, all, 3); });
    const std::vector<std::int32_t> wide = {0, 4096};
    const std::vector<std::size_t> two = {2};
    expect_error(ErrorCode::invalid_argument, "4097", [&] { encode_symbols(wide, two, 1); });
}

}  // namespace
}  // namespace vaecomp
