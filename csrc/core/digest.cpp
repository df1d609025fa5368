#include "core/digest.hpp"

#include <algorithm>
#include <array>

#include "core/endian.hpp"
#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {
namespace {

// Leaves that are hashed side by side, if they are of one size.
constexpr std::size_t leaves_together = 8;

std::uint64_t little_endian_hash(Bytes bytes, std::size_t item) {
    if (host_is_little_endian || item == 1) return xxh64(bytes);
    Vector<std::uint8_t> little(bytes.size());
    swap_items(bytes.data(), little.data(), bytes.size() / item, item);
    return xxh64(little);
}

}  // namespace

std::uint64_t xxh64(Bytes bytes) {
    const std::uint8_t* const data = bytes.data();
    std::uint64_t hash = 0;
    kernels().xxh64(&data, 1, bytes.size(), &hash);
    return hash;
}

TensorDigests::TensorDigests(std::span<const DigestSource> tensors) : tensors_(tensors.begin(), tensors.end()) {
    first_leaves_.push_back(0);
    for (const DigestSource& tensor : tensors) {
        const std::size_t leaves = (tensor.bytes() + digest_leaf_bytes - 1) / digest_leaf_bytes;
        first_leaves_.push_back(first_leaves_.back() + leaves);
    }
    hashes_.resize(first_leaves_.back() * 8);
    done_.resize(first_leaves_.back());
}

Bytes TensorDigests::bytes_of(const Leaf& leaf) const {
    const DigestSource& tensor = tensors_[leaf.tensor];
    const std::size_t at = leaf.number * digest_leaf_bytes;
    return {static_cast<const std::uint8_t*>(tensor.data) + at, std::min(digest_leaf_bytes, tensor.bytes() - at)};
}

void TensorDigests::store(const Leaf& leaf, std::uint64_t hash) {
    const std::size_t number = first_leaves_[leaf.tensor] + leaf.number;
    store_le(hashes_.data() + number * 8, hash);
    done_[number] = 1;
}

void TensorDigests::hash(std::span<const Leaf> leaves) {
    if (!host_is_little_endian) {
        for (const Leaf& leaf : leaves) {
            store(leaf, little_endian_hash(bytes_of(leaf), info(tensors_[leaf.tensor].dtype).swap_size));
        }
        return;
    }
    for (std::size_t begin = 0, count = 0; begin < leaves.size(); begin += count) {
        const std::size_t size = bytes_of(leaves[begin]).size();
        std::array<const std::uint8_t*, leaves_together> inputs;
        std::array<std::uint64_t, leaves_together> hashes;
        for (count = 0; count < leaves_together && begin + count < leaves.size(); ++count) {
            const Bytes bytes = bytes_of(leaves[begin + count]);
            if (bytes.size() != size) break;
            inputs[count] = bytes.data();
        }
        kernels().xxh64(inputs.data(), count, size, hashes.data());
        for (std::size_t i = 0; i < count; ++i) store(leaves[begin + i], hashes[i]);
    }
}

void TensorDigests::written(std::span<const std::size_t> tensors, std::size_t begin, std::size_t end) {
    if (tensors.empty()) return;
    const std::size_t bytes = tensors_[tensors.front()].bytes();
    Vector<Leaf> whole;
    for (std::size_t leaf = (begin + digest_leaf_bytes - 1) / digest_leaf_bytes;
         leaf * digest_leaf_bytes < end && std::min(bytes, (leaf + 1) * digest_leaf_bytes) <= end; ++leaf) {
        for (const std::size_t tensor : tensors) whole.push_back({tensor, leaf});
    }
    hash(whole);
}

Vector<std::uint64_t> TensorDigests::finish(std::size_t threads) {
    Vector<Leaf> left;
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
        for (std::size_t number = first_leaves_[t]; number < first_leaves_[t + 1]; ++number) {
            if (!done_[number]) left.push_back({t, number - first_leaves_[t]});
        }
    }
    parallel_ranges(left.size(), 16, threads,
                    [&](std::size_t begin, std::size_t end) { hash(std::span(left).subspan(begin, end - begin)); });
    Vector<std::uint64_t> digests;
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
        const std::size_t leaves = first_leaves_[t + 1] - first_leaves_[t];
        digests.push_back(xxh64(Bytes(hashes_).subspan(first_leaves_[t] * 8, leaves * 8)));
    }
    return digests;
}

std::uint64_t tensor_digest(const DigestSource& tensor, std::size_t threads) {
    return TensorDigests({&tensor, 1}).finish(threads).front();
}

}  // namespace vaecomp::core
