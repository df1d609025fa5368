#include <algorithm>
#include <cmath>
#include <numeric>

#include "encode/blocks.hpp"
#include "encode/histogram.hpp"
#include "encode/symbols.hpp"
#include "entropy/symbol_stream.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

using testing::expect_error;
constexpr SymbolRange any{-2147483647 - 1, 2147483647};

Vector<std::int32_t> decoded(const Vector<std::uint8_t>& bytes, std::size_t threads = 1) {
    ByteReader reader(bytes, 0, "stream");
    SymbolStream stream(reader, any, 1u << 24);
    stream.place_in(reader);
    reader.expect_end("end");
    Vector<std::int32_t> symbols(stream.count());
    stream.decode(MemorySource(bytes), symbols, threads);
    return symbols;
}

TEST(FrequencyTable, SumsUpAndKeepsRareSymbols) {
    Vector<std::int32_t> symbols(1000000, 7);
    symbols[5] = -3;
    const FrequencyTable table = make_table(Histogram(symbols));
    EXPECT_EQ(table.first, -3);
    EXPECT_EQ(std::accumulate(table.frequencies.begin(), table.frequencies.end(), 0), 4096);
    EXPECT_EQ(table.frequencies.front(), 1);
    EXPECT_EQ(table.frequencies[1], 0);
    EXPECT_EQ(table.frequencies.back(), 4095);
}

TEST(FrequencyTable, OfNoSymbolsIsTheShortest) {
    ByteWriter writer;
    write_table(writer, make_table(Histogram()));
    EXPECT_EQ(writer.size(), 4u);
}

TEST(Histogram, AddsAsIfAllHadComeAtOnce) {
    const auto symbols = testing::random_integers<std::int32_t>(500, -900, 900, 6);
    const std::span<const std::int32_t> all = symbols;
    Histogram parts(all.first(200));
    const Histogram rest(all.subspan(200));
    parts.add(rest);
    const Histogram whole(symbols);
    EXPECT_EQ(parts.first(), whole.first());
    EXPECT_EQ(parts.counts(), whole.counts());
}

TEST(CodeLength, IsCloseToTheEntropyForEveryFrequency) {
    for (std::uint32_t frequency = 1; frequency < table_total; ++frequency) {
        const FrequencyTable table{
            0, {static_cast<std::uint16_t>(frequency), static_cast<std::uint16_t>(table_total - frequency)}};
        const std::int32_t symbol[] = {0};
        const double exact = 256 * (12 - std::log2(frequency));
        const auto length = static_cast<double>(code_length(table, Histogram(symbol)));
        ASSERT_EQ(length, std::ceil(exact)) << frequency;
    }
}

TEST(Lanes, WeighThePayload) {
    EXPECT_EQ(lanes_for(0, 0), 1u);
    EXPECT_EQ(lanes_for(1000, 1000 * 8 * 256), 1u);
    EXPECT_EQ(lanes_for(1024, 1024 * 8 * 256), 2u);
    EXPECT_EQ(lanes_for(1024, 1024 * 8 * 256 - 1), 1u);
    EXPECT_EQ(lanes_for(16384, 16384 * 8 * 256), 32u);
    EXPECT_EQ(lanes_for(131072, 131072 * 8 * 256), 64u);
    // Two blocks of 1/8 bit a symbol: 2 KiB a full block.
    EXPECT_EQ(lanes_for(262144, 262144 * 32), 4u);
}

// A block whose symbols change tables all the time, with every instruction set.
TEST(Blocks, EverySymbolMayHaveATableOfItsOwn) {
    constexpr std::size_t count = 140001, tables = 256;
    const auto contexts = testing::random_integers<std::uint8_t>(count, 0, tables - 1, 7);
    Vector<std::int32_t> symbols(count);
    const auto noise = testing::random_integers<std::int32_t>(count, 0, 20, 8);
    Vector<Histogram> histograms(tables);
    for (std::size_t i = 0; i < count; ++i) {
        symbols[i] = noise[i] * (contexts[i] % 5) - contexts[i];
        histograms[contexts[i]].add(symbols[i]);
    }
    Vector<FrequencyTable> made;
    EncodingTables encoding;
    for (const Histogram& histogram : histograms) {
        made.push_back(make_table(histogram));
        encoding.add(made.back());
    }
    const DecodingTables decoding(made);
    for (const std::size_t lanes : {1u, 4u, 8u, 32u, 64u}) {
        const EncodingRun run{contexts.data(), count};
        ByteWriter head;
        Payload payload;
        write_blocks(head, payload, symbols, encoding, {&run, 1}, lanes, 2);
        Vector<std::uint8_t> bytes;
        payload.move_behind(bytes, 2);
        const MemorySource source(bytes);
        testing::for_every_isa([&](Isa) {
            ByteReader reader(head.bytes(), 0, "blocks");
            Blocks blocks(reader, count, lanes);
            reader.expect_end("end");
            ASSERT_EQ(blocks.size(), 2u);
            EXPECT_EQ(blocks.place(0), bytes.size());
            Vector<std::int32_t> out(count);
            blocks.for_each(source, Vector<std::size_t>{0, 1}, 2, [&](std::size_t b, BlockReader& block) {
                const std::size_t begin = blocks.begin(b), length = blocks.end(b) - begin;
                // In two pieces, of which the second does not begin with the first lane.
                const std::size_t cut = length / 2 + 3;
                const std::span all = std::span(out).subspan(begin, length);
                block.read(decoding.view(), contexts.data() + begin, all.first(cut));
                block.read(decoding.view(), contexts.data() + begin + cut, all.subspan(cut));
            });
            EXPECT_EQ(out, symbols);
        });
    }
}

TEST(SymbolStream, RoundTripsOverSizesLanesAndSegments) {
    for (const std::size_t count : {0u, 1u, 2u, 31u, 1000u, 131071u, 131072u, 131073u, 300000u}) {
        const auto symbols = testing::random_integers<std::int32_t>(count, -20, 30, static_cast<unsigned>(count));
        for (const std::size_t lanes : {0u, 1u, 8u, 32u, 64u}) {
            const Vector<std::size_t> segments =
                count == 0 ? Vector<std::size_t>{}
                           : (count < 3 ? Vector<std::size_t>{count}
                                        : Vector<std::size_t>{1, count / 2, count - 1 - count / 2});
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
    const Vector<std::size_t> segments = {100, 200};
    Vector<std::uint8_t> bytes = encode_symbols(symbols, segments, 8);
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
    const Vector<std::size_t> segments = {200};
    const Vector<std::uint8_t> bytes = encode_symbols(symbols, segments, 2);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        Vector<std::uint8_t> changed = bytes;
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
    const Vector<std::int32_t> symbols = {1, 2, 3};
    const Vector<std::size_t> wrong = {1, 1}, zero = {3, 0}, all = {3}, wraps = {~std::size_t{4}, 8};
    expect_error(ErrorCode::invalid_argument, "segments", [&] { encode_symbols(symbols, wraps, 1); });
    expect_error(ErrorCode::invalid_argument, "segments", [&] { encode_symbols(symbols, wrong, 1); });
    expect_error(ErrorCode::invalid_argument, "segments", [&] { encode_symbols(symbols, zero, 1); });
    expect_error(ErrorCode::invalid_argument, "lanes", [&] { encode_symbols(symbols, all, 3); });
    const Vector<std::int32_t> wide = {0, 4096};
    const Vector<std::size_t> two = {2};
    expect_error(ErrorCode::invalid_argument, "4097", [&] { encode_symbols(wide, two, 1); });
}

}  // namespace
}  // namespace vaecomp::core
