#include "encode/lossless.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/parallel.hpp"
#include "encode/head.hpp"
#include "encode/split.hpp"
#include "encode/symbols.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

Vector<std::int32_t> plane_symbols(const PlanesSource& tensor, std::size_t plane) {
    Vector<std::int32_t> symbols(tensor.shape.items());
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

void write_plane(ByteWriter& head, ByteWriter& payload, const PlanesSource& tensor, std::size_t plane) {
    const Vector<std::int32_t> symbols = plane_symbols(tensor, plane);
    const std::size_t all[] = {symbols.size()};
    ByteWriter stream, blocks;
    write_symbols(stream, blocks, symbols, all, 0);
    ByteWriter& behind = is_small(tensor.shape) ? head : payload;
    if (stream.size() + blocks.size() < symbols.size()) {
        head.fixed(static_cast<std::uint8_t>(PlaneForm::coded));
        head.append(stream.bytes());
        behind.append(blocks.bytes());
        return;
    }
    const Vector<std::uint8_t> bytes(symbols.begin(), symbols.end());
    head.fixed(static_cast<std::uint8_t>(PlaneForm::stored));
    for (const std::size_t b : blocks_between(0, is_small(tensor.shape) ? 0 : bytes.size(), block_symbols)) {
        head.fixed(kernels().crc32c(bytes.data() + b * block_symbols, stored_size(b, bytes.size())));
    }
    behind.append(bytes);
}

// Larger tensors are shared by threads, smaller ones are a thread's each.
constexpr std::size_t shared_items = std::size_t{1} << 22, max_tasks = 256;

struct Encoded {
    ByteWriter head, payload;
};

void write_tensor(Encoded& encoded, const PlanesSource& tensor) {
    if (write_split(encoded.head, encoded.payload, tensor)) return;
    for (std::size_t p = 0; tensor.shape.items() > 0 && p < tensor.shape.item_bytes(); ++p) {
        write_plane(encoded.head, encoded.payload, tensor, p);
    }
}

}  // namespace

Vector<std::uint8_t> encode_lossless(std::span<const PlanesSource> tensors) {
    Vector<Encoded> encoded(tensors.size());
    Vector<std::size_t> apart;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
        if (tensors[t].shape.items() <= shared_items) {
            apart.push_back(t);
        } else {
            write_tensor(encoded[t], tensors[t]);
        }
    }
    // Hundreds of tiny ones make a task.
    const std::size_t grain = std::max<std::size_t>(1, apart.size() / max_tasks);
    parallel_ranges(apart.size(), grain, 0, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) write_tensor(encoded[apart[i]], tensors[apart[i]]);
    });
    ByteWriter head, payload;
    for (Encoded& one : encoded) {
        head.append(one.head.bytes());
        payload.append(one.payload.bytes());
        one = {};
    }
    return join_head(head, payload);
}

}  // namespace vaecomp::core
