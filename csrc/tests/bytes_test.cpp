#include "core/bytes.hpp"

#include "encode/byte_writer.hpp"
#include "tests/support.hpp"

namespace vaecomp::core {
namespace {

using testing::expect_error;

ByteReader reader_of(const Vector<std::uint8_t>& bytes) { return {bytes, 100, "part"}; }

TEST(Varint, RoundTripsAtEveryLength) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        for (const std::uint64_t value :
             {(std::uint64_t{1} << bit) - 1, std::uint64_t{1} << bit, ~std::uint64_t{0} >> bit}) {
            ByteWriter writer;
            writer.varint(value);
            ByteReader reader = reader_of(writer.bytes());
            EXPECT_EQ(reader.varint("number"), value);
            reader.expect_end("end");
        }
    }
}

TEST(Varint, RefusesLongerFormsOverflowAndTruncation) {
    const Vector<std::uint8_t> longer = {0x81, 0x00}, overflow(9, 0xff), truncated = {0x80};
    expect_error(ErrorCode::malformed, "number at offset 100: the number is not in its shortest form",
                 [&] { reader_of(longer).varint("number"); });
    Vector<std::uint8_t> beyond = overflow;
    beyond.push_back(2);
    expect_error(ErrorCode::malformed, "exceeds 64 bits", [&] { reader_of(beyond).varint("number"); });
    expect_error(ErrorCode::malformed, "end inside", [&] { reader_of(truncated).varint("number"); });
}

TEST(Zigzag, RoundTripsTheExtremes) {
    for (const std::int64_t value :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1}, std::numeric_limits<std::int64_t>::min(),
          std::numeric_limits<std::int64_t>::max()}) {
        ByteWriter writer;
        writer.zigzag(value);
        EXPECT_EQ(reader_of(writer.bytes()).zigzag("number"), value);
    }
}

TEST(String, AcceptsUtf8AndRefusesEverythingElse) {
    for (const String text : {"", "fc.weight", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
        ByteWriter writer;
        writer.string(text);
        EXPECT_EQ(reader_of(writer.bytes()).string("name"), text);
    }
    for (const String text : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
        ByteWriter writer;
        writer.varint(text.size());
        writer.append({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
        expect_error(ErrorCode::malformed, "UTF-8", [&] { reader_of(writer.bytes()).string("name"); });
    }
}

TEST(FrontCoded, StoresWhatDiffers) {
    // The last two share the first byte of a character.
    const Vector<String> names = {"layer.0.bias", "layer.0.weight", "", "l", "layer", "\xc3\xbc", "\xc3\xb6"};
    ByteWriter writer;
    String previous;
    for (const String& name : names) {
        writer.front_coded(name, previous);
        previous = name;
    }
    EXPECT_EQ(writer.size(), 2 * names.size() + 12 + 6 + 1 + 4 + 2 + 1);
    ByteReader reader = reader_of(writer.bytes());
    previous.clear();
    for (const String& name : names) {
        EXPECT_EQ(reader.front_coded("name", previous, name.size()), name);
        previous = name;
    }
    reader.expect_end("end");
}

TEST(FrontCoded, RefusesWhatIsNotThere) {
    const Vector<std::uint8_t> too_much = {4, 0}, not_text = {1, 0}, too_long = {3, 2, 'a', 'b'};
    expect_error(ErrorCode::malformed, "outside 0 to 3", [&] { reader_of(too_much).front_coded("name", "abc", 9); });
    expect_error(ErrorCode::malformed, "UTF-8", [&] { reader_of(not_text).front_coded("name", "\xc3\xbc", 9); });
    expect_error(ErrorCode::malformed, "together", [&] { reader_of(too_long).front_coded("name", "abc", 4); });
}

TEST(Reader, NamesFieldAndOffset) {
    const Vector<std::uint8_t> bytes = {1, 2, 3};
    ByteReader reader = reader_of(bytes);
    reader.fixed<std::uint16_t>("first");
    expect_error(ErrorCode::malformed, "part: second at offset 102: needs 4 bytes, 1 left",
                 [&] { reader.fixed<std::uint32_t>("second"); });
    expect_error(ErrorCode::malformed, "1 bytes too many", [&] { reader.expect_end("end"); });
}

}  // namespace
}  // namespace vaecomp::core
