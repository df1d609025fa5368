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
    const Bytes bytes{static_cast<const std::uint8_t*>(tensor.data), tensor.count * info(tensor.dtype).size};
    const Bytes own = bytes.subspan(at, std::min(digest_leaf_bytes, bytes.size() - at));
    if (host_is_little_endian || item == 1) return xxh64(own);
    Vector<std::uint8_t> little(own.size());
    swap_items(own.data(), little.data(), own.size() / item, item);
    return xxh64(little);
}

}  // namespace

Vector<std::uint64_t> tensor_digests(std::span<const DigestSource> tensors, std::size_t threads) {
    Vector<std::size_t> ends;  // in the leaves of all tensors
    std::size_t leaves = 0;
    for (const DigestSource& tensor : tensors) {
        leaves += (tensor.count * info(tensor.dtype).size + digest_leaf_bytes - 1) / digest_leaf_bytes;
        ends.push_back(leaves);
    }
    Vector<std::uint8_t> hashes(leaves * 8);
    parallel_ranges(leaves, 16, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t leaf = begin; leaf < end; ++leaf) {
            const auto t = static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), leaf) - ends.begin());
            const std::size_t first = t == 0 ? 0 : ends[t - 1];
            store_le(hashes.data() + leaf * 8, leaf_hash(tensors[t], leaf - first));
        }
    });
    Vector<std::uint64_t> digests;
    std::size_t first = 0;
    for (const std::size_t end : ends) {
        digests.push_back(xxh64(Bytes(hashes).subspan(first * 8, (end - first) * 8)));
        first = end;
    }
    return digests;
}

std::uint64_t tensor_digest(const DigestSource& tensor, std::size_t threads) {
    return tensor_digests({&tensor, 1}, threads).front();
}

}  // namespace vaecomp::core
