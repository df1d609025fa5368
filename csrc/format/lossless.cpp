#include "format/lossless.hpp"

#include <algorithm>
#include <bit>

#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

constexpr SymbolRange byte_range{0, 255};

// Little-endian, perhaps turned words to items in host byte order, in place.
void restore_items(const PlanesShape& shape, std::uint8_t* data) {
    with_word(shape.item_bytes(), [&]<typename Word>(Word) {
        const int turn = is_rotated(shape) ? 1 : 0;
        for (std::size_t i = 0; i < shape.items(); ++i) {
            const Word word = std::rotr(load_le<Word>(data + i * sizeof(Word)), turn);
            std::memcpy(data + i * sizeof(Word), &word, sizeof(Word));
        }
    });
}

CheckedBlocks read_stored(ByteReader& reader, const PlanesShape& shape) {
    CheckedBlocks blocks;
    if (is_small(shape)) {
        const std::uint64_t offset = reader.offset();
        const Bytes bytes = reader.take(shape.items(), "plane");
        blocks.add(bytes.size(), kernels().crc32c(bytes.data(), bytes.size()));
        blocks.place(offset);
        return blocks;
    }
    for (const std::size_t b : blocks_between(0, shape.items(), block_symbols)) {
        blocks.add(stored_size(b, shape.items()), reader.fixed<std::uint32_t>("block's checksum"));
    }
    return blocks;
}

SymbolStream read_coded(ByteReader& reader, const PlanesShape& shape) {
    SymbolStream stream(reader, byte_range, shape.items());
    if (stream.count() != shape.items()) reader.fail("plane", "has not as many symbols as the tensor has items");
    if (is_small(shape)) stream.place_in(reader);
    return stream;
}

Plane read_plane(ByteReader& reader, const PlanesShape& shape, PlaneForm form) {
    switch (form) {
        case PlaneForm::stored: return read_stored(reader, shape);
        case PlaneForm::coded: return read_coded(reader, shape);
        case PlaneForm::split: break;
    }
    reader.fail("plane's form", "is unknown");
}

PlaneForm read_form(ByteReader& reader) { return static_cast<PlaneForm>(reader.fixed<std::uint8_t>("plane's form")); }

LosslessTensor read_tensor(ByteReader& reader, const PlanesShape& shape, std::uint64_t max_symbols,
                           std::size_t threads) {
    Planes planes;
    for (std::size_t p = 0; shape.items() > 0 && p < shape.item_bytes(); ++p) {
        const PlaneForm form = read_form(reader);
        if (p == 0 && form == PlaneForm::split) return read_split(reader, shape, max_symbols, threads);
        planes.push_back(read_plane(reader, shape, form));
    }
    return planes;
}

// The blocks stand one behind another from `begin` on. Returns where they end.
std::uint64_t place(Planes& planes, const PlanesShape& shape, std::uint64_t begin) {
    for (Plane& plane : planes) {
        if (!is_small(shape)) begin = std::visit([&](auto& blocks) { return blocks.place(begin); }, plane);
    }
    return begin;
}

std::uint64_t place(SplitTensor& tensor, const PlanesShape&, std::uint64_t begin) { return tensor.blocks.place(begin); }

}  // namespace

Vector<LosslessTensor> read_lossless(ByteReader head, std::uint64_t section_end, std::span<const PlanesShape> shapes,
                                     std::uint64_t max_symbols, std::size_t threads) {
    Vector<LosslessTensor> tensors;
    for (const PlanesShape& shape : shapes) tensors.push_back(read_tensor(head, shape, max_symbols, threads));
    head.expect_end("head's end");
    std::uint64_t end = head.offset();
    for (std::size_t t = 0; t < tensors.size(); ++t) {
        end = std::visit([&](auto& tensor) { return place(tensor, shapes[t], end); }, tensors[t]);
        if (end > section_end) head.fail("planes", "exceed the section");
    }
    if (end != section_end) head.fail("planes", "do not fill the section");
    return tensors;
}

void decode_planes(const Source& source, std::span<const Plane> planes, std::size_t first, const PlanesShape& part,
                   std::uint8_t* out) {
    const std::size_t begin = first * part.element_items(), end = begin + part.items();
    for (std::size_t p = 0; p < planes.size(); ++p) {
        // Blocks come whole.
        const auto put = [&](std::size_t at, auto values) {
            const std::size_t from = std::max(at, begin), to = std::min(at + values.size(), end);
            for (std::size_t i = from; i < to; ++i) {
                out[(i - begin) * planes.size() + p] = static_cast<std::uint8_t>(values[i - at]);
            }
        };
        if (const auto* stored = std::get_if<CheckedBlocks>(&planes[p])) {
            stored->for_each(source, blocks_between(begin, end, block_symbols), 1,
                             [&](std::size_t block, Bytes bytes) { put(block * block_symbols, bytes); });
        } else {
            std::get<SymbolStream>(planes[p]).decode(source, begin, end, 1, put);
        }
    }
    restore_items(part, out);
    if (part.dtype == DType::boolean && std::any_of(out, out + part.items(), [](std::uint8_t b) { return b > 1; })) {
        throw Error(ErrorCode::malformed, "a bool is neither 0 nor 1");
    }
}

}  // namespace vaecomp::core
