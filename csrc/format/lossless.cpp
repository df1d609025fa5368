#include "format/lossless.hpp"

#include <algorithm>
#include <bit>

#include "core/parallel.hpp"

namespace vaecomp {
namespace {

constexpr SymbolRange byte_range{0, 255};
constexpr std::size_t grain = std::size_t{1} << 18;

enum class PlaneForm : std::uint8_t { stored = 0, coded = 1 };

// Whether items are turned by a bit, so that the exponent's bits share a byte.
bool is_rotated(const PlanesShape& shape) {
    return shape.item_bytes() > 1 && (is_real_float(shape.dtype) || shape.dtype >= DType::c64);
}

// Calls the function with an unsigned integer as wide as an item.
template <typename Function>
void with_word(std::size_t item_bytes, Function function) {
    switch (item_bytes) {
        case 1: function(std::uint8_t{}); break;
        case 2: function(std::uint16_t{}); break;
        case 4: function(std::uint32_t{}); break;
        default: function(std::uint64_t{}); break;
    }
}

// Little-endian, perhaps turned words to items in host byte order, in place.
void restore_items(const PlanesShape& shape, std::uint8_t* data, std::size_t threads) {
    with_word(shape.item_bytes(), [&]<typename Word>(Word) {
        const int turn = is_rotated(shape) ? 1 : 0;
        parallel_ranges(shape.items(), grain, threads, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                const Word word = std::rotr(load_le<Word>(data + i * sizeof(Word)), turn);
                std::memcpy(data + i * sizeof(Word), &word, sizeof(Word));
            }
        });
    });
}

std::vector<std::int32_t> plane_symbols(const PlanesSource& tensor, std::size_t plane) {
    std::vector<std::int32_t> symbols(tensor.shape.items());
    with_word(tensor.shape.item_bytes(), [&]<typename Word>(Word) {
        const int turn = is_rotated(tensor.shape) ? 1 : 0;
        for (std::size_t i = 0; i < symbols.size(); ++i) {
            Word word;
            std::memcpy(&word, tensor.data + i * sizeof(Word), sizeof(Word));
            symbols[i] = static_cast<std::uint8_t>(std::rotl(word, turn) >> (8 * plane));
        }
    });
    return symbols;
}

Plane read_plane(ByteReader& reader, std::size_t items) {
    switch (static_cast<PlaneForm>(reader.fixed<std::uint8_t>("plane's form"))) {
        case PlaneForm::stored: return reader.take(items, "plane");
        case PlaneForm::coded: {
            SymbolStream stream(reader, byte_range, items);
            if (stream.count() != items) reader.fail("plane", "has not as many symbols as the tensor has items");
            return stream;
        }
    }
    reader.fail("plane's form", "is neither 0 nor 1");
}

void write_plane(ByteWriter& writer, std::span<const std::int32_t> symbols) {
    const std::size_t all[] = {symbols.size()};
    const std::vector<std::uint8_t> coded = encode_symbols(symbols, all, 0);
    const bool smaller = coded.size() < symbols.size();
    writer.fixed(static_cast<std::uint8_t>(smaller ? PlaneForm::coded : PlaneForm::stored));
    if (smaller) {
        writer.append(coded);
    } else {
        for (const std::int32_t symbol : symbols) writer.fixed(static_cast<std::uint8_t>(symbol));
    }
}

}  // namespace

std::vector<std::vector<Plane>> read_lossless(ByteReader reader, std::span<const PlanesShape> shapes) {
    std::vector<std::vector<Plane>> tensors;
    for (const PlanesShape& shape : shapes) {
        tensors.emplace_back();
        for (std::size_t p = 0; shape.items() > 0 && p < shape.item_bytes(); ++p) {
            tensors.back().push_back(read_plane(reader, shape.items()));
        }
    }
    reader.expect_end("end");
    return tensors;
}

void decode_planes(std::span<const Plane> planes, const PlanesShape& shape, std::uint8_t* out, std::size_t threads) {
    for (std::size_t p = 0; p < planes.size(); ++p) {
        const auto put = [&](std::size_t begin, auto values) {
            for (std::size_t i = 0; i < values.size(); ++i) {
                out[(begin + i) * planes.size() + p] = static_cast<std::uint8_t>(values[i]);
            }
        };
        if (const auto* stored = std::get_if<Bytes>(&planes[p])) {
            put(0, *stored);
        } else {
            std::get<SymbolStream>(planes[p]).decode(threads, put);
        }
    }
    restore_items(shape, out, threads);
    if (shape.dtype == DType::boolean && std::any_of(out, out + shape.items(), [](std::uint8_t b) { return b > 1; })) {
        throw Error(ErrorCode::malformed, "a bool is neither 0 nor 1");
    }
}

std::vector<std::uint8_t> encode_lossless(std::span<const PlanesSource> tensors) {
    ByteWriter writer;
    for (const PlanesSource& tensor : tensors) {
        for (std::size_t p = 0; tensor.shape.items() > 0 && p < tensor.shape.item_bytes(); ++p) {
            write_plane(writer, plane_symbols(tensor, p));
        }
    }
    return std::move(writer.bytes());
}

}  // namespace vaecomp
