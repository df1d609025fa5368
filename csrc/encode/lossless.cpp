#include "encode/lossless.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

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

void write_plane(EncodedTensor& encoded, const PlanesSource& tensor, std::size_t plane, std::size_t threads) {
    const Vector<std::int32_t> symbols = plane_symbols(tensor, plane);
    const std::size_t all[] = {symbols.size()};
    ByteWriter stream;
    Payload blocks;
    write_symbols(stream, blocks, symbols, all, 0, threads);
    const bool is_coded = stream.size() + blocks.size() < symbols.size();
    encoded.head.fixed(static_cast<std::uint8_t>(is_coded ? PlaneForm::coded : PlaneForm::stored));
    if (is_coded) {
        encoded.head.append(stream.bytes());
    } else {
        Vector<std::uint8_t> bytes(symbols.begin(), symbols.end());
        for (const std::size_t b : blocks_between(0, is_small(tensor.shape) ? 0 : bytes.size(), block_symbols)) {
            encoded.head.fixed(kernels().crc32c(bytes.data() + b * block_symbols, stored_size(b, bytes.size())));
        }
        blocks = {};
        blocks.append(std::move(bytes));
    }
    if (is_small(tensor.shape)) {
        blocks.move_behind(encoded.head.bytes(), threads);
    } else {
        encoded.payload.append(std::move(blocks));
    }
}

// Larger tensors are shared by threads, smaller ones are a thread's each.
constexpr std::size_t shared_items = std::size_t{1} << 22, max_tasks = 256;

void write_tensor(EncodedTensor& encoded, const PlanesSource& tensor, std::size_t threads) {
    if (write_split(encoded, tensor, threads)) return;
    for (std::size_t p = 0; tensor.shape.items() > 0 && p < tensor.shape.item_bytes(); ++p) {
        write_plane(encoded, tensor, p, threads);
    }
}

}  // namespace

void encode_lossless(std::span<const PlanesSource> tensors, std::size_t threads, Place place) {
    // The largest first, so that no thread is left alone with one at the end.
    Vector<std::size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto items = [&](std::size_t t) { return tensors[t].shape.items(); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return items(a) > items(b); });
    const auto is_shared = [&](std::size_t t) { return items(t) > shared_items; };
    const auto apart = std::partition_point(order.begin(), order.end(), is_shared);
    Vector<EncodedTensor> encoded(tensors.size());
    std::for_each(order.begin(), apart, [&](std::size_t t) { write_tensor(encoded[t], tensors[t], threads); });
    const std::span<const std::size_t> rest(apart, order.end());
    // Hundreds of tiny ones make a task.
    parallel_ranges(rest.size(), rest.size() / max_tasks + 1, threads, [&](std::size_t begin, std::size_t end) {
        for (const std::size_t t : rest.subspan(begin, end - begin)) write_tensor(encoded[t], tensors[t], threads);
    });
    ByteWriter head;
    Payload payload;
    for (EncodedTensor& one : encoded) {
        head.append(one.head.bytes());
        payload.append(std::move(one.payload));
        one = {};
    }
    join_head(head, payload, threads, place);
}

Vector<std::uint8_t> encode_lossless(std::span<const PlanesSource> tensors) {
    return in_vector([&](Place place) { encode_lossless(tensors, 0, place); });
}

}  // namespace vaecomp::core
