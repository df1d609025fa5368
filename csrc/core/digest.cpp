#include "core/digest.hpp"

#include <algorithm>
#include <bit>

#include "core/endian.hpp"
#include "core/parallel.hpp"

namespace vaecomp::core {
namespace {

constexpr std::uint64_t prime1 = 0x9e3779b185ebca87u, prime2 = 0xc2b2ae3d27d4eb4fu, prime3 = 0x165667b19e3779f9u,
                        prime4 = 0x85ebca77c2b2ae63u, prime5 = 0x27d4eb2f165667c5u;

std::uint64_t round(std::uint64_t lane, std::uint64_t input) { return std::rotl(lane + input * prime2, 31) * prime1; }

std::uint64_t merge(std::uint64_t hash, std::uint64_t lane) { return (hash ^ round(0, lane)) * prime1 + prime4; }

}  // namespace

std::uint64_t xxh64(Bytes bytes) {
    const std::uint8_t* at = bytes.data();
    std::size_t left = bytes.size();
    std::uint64_t hash = prime5;
    if (left >= 32) {
        std::uint64_t a = prime1 + prime2, b = prime2, c = 0, d = 0 - prime1;
        for (; left >= 32; at += 32, left -= 32) {
            a = round(a, load_le<std::uint64_t>(at));
            b = round(b, load_le<std::uint64_t>(at + 8));
            c = round(c, load_le<std::uint64_t>(at + 16));
            d = round(d, load_le<std::uint64_t>(at + 24));
        }
        hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
        hash = merge(merge(merge(merge(hash, a), b), c), d);
    }
    hash += bytes.size();
    for (; left >= 8; at += 8, left -= 8) {
        hash = std::rotl(hash ^ round(0, load_le<std::uint64_t>(at)), 27) * prime1 + prime4;
    }
    if (left >= 4) {
        hash = std::rotl(hash ^ (load_le<std::uint32_t>(at) * prime1), 23) * prime2 + prime3;
        at += 4;
        left -= 4;
    }
    for (; left > 0; ++at, --left) hash = std::rotl(hash ^ (*at * prime5), 11) * prime1;
    hash = (hash ^ (hash >> 33)) * prime2;
    hash = (hash ^ (hash >> 29)) * prime3;
    return hash ^ (hash >> 32);
}

namespace {

// The hash of one leaf of a tensor.
std::uint64_t leaf_hash(const DigestSource& tensor, std::size_t leaf) {
    const std::size_t at = leaf * digest_leaf_bytes, item = info(tensor.dtype).swap_size;
    const Bytes bytes{static_cast<const std::uint8_t*>(tensor.data), tensor.bytes()};
    const Bytes own = bytes.subspan(at, std::min(digest_leaf_bytes, bytes.size() - at));
    if (host_is_little_endian || item == 1) return xxh64(own);
    Vector<std::uint8_t> little(own.size());
    swap_items(own.data(), little.data(), own.size() / item, item);
    return xxh64(little);
}

}  // namespace

TensorDigests::TensorDigests(std::span<const DigestSource> tensors) : tensors_(tensors.begin(), tensors.end()) {
    first_leaves_.push_back(0);
    for (const DigestSource& tensor : tensors) {
        const std::size_t leaves = (tensor.bytes() + digest_leaf_bytes - 1) / digest_leaf_bytes;
        first_leaves_.push_back(first_leaves_.back() + leaves);
    }
    hashes_.resize(first_leaves_.back() * 8);
    done_.resize(first_leaves_.back());
}

void TensorDigests::hash(std::size_t tensor, std::size_t leaf) {
    const std::size_t number = first_leaves_[tensor] + leaf;
    store_le(hashes_.data() + number * 8, leaf_hash(tensors_[tensor], leaf));
    done_[number] = 1;
}

void TensorDigests::written(std::size_t tensor, std::size_t begin, std::size_t end) {
    const std::size_t bytes = tensors_[tensor].bytes();
    for (std::size_t leaf = (begin + digest_leaf_bytes - 1) / digest_leaf_bytes;
         leaf * digest_leaf_bytes < end && std::min(bytes, (leaf + 1) * digest_leaf_bytes) <= end; ++leaf) {
        hash(tensor, leaf);
    }
}

Vector<std::uint64_t> TensorDigests::finish(std::size_t threads) {
    Vector<std::pair<std::size_t, std::size_t>> left;  // tensor and leaf
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
        for (std::size_t number = first_leaves_[t]; number < first_leaves_[t + 1]; ++number) {
            if (!done_[number]) left.emplace_back(t, number - first_leaves_[t]);
        }
    }
    parallel_ranges(left.size(), 16, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) hash(left[i].first, left[i].second);
    });
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
