#include "core/digest.hpp"

#include <algorithm>
#include <bit>
#include <vector>

#include "core/endian.hpp"
#include "core/parallel.hpp"

namespace vaecomp {
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

std::uint64_t tensor_digest(const void* data, std::size_t count, DType dtype, std::size_t threads) {
    const auto* first = static_cast<const std::uint8_t*>(data);
    const std::size_t size = count * info(dtype).size;
    const std::size_t leaves = (size + digest_leaf_bytes - 1) / digest_leaf_bytes;
    std::vector<std::uint8_t> hashes(leaves * 8);
    parallel_ranges(leaves, 16, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t leaf = begin; leaf < end; ++leaf) {
            const std::size_t at = leaf * digest_leaf_bytes;
            const std::size_t length = std::min(digest_leaf_bytes, size - at);
            const std::size_t item = info(dtype).swap_size;
            if (host_is_little_endian || item == 1) {
                store_le(hashes.data() + leaf * 8, xxh64({first + at, length}));
            } else {
                std::vector<std::uint8_t> little(length);
                swap_items(first + at, little.data(), length / item, item);
                store_le(hashes.data() + leaf * 8, xxh64(little));
            }
        }
    });
    return xxh64(hashes);
}

}  // namespace vaecomp
