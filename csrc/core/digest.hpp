// XXH64 and the tensor digest built from it (docs/kernels.md, 6).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/dtype.hpp"

namespace vaecomp::core {

inline constexpr std::size_t digest_leaf_bytes = 65536;

// Where the elements begin that a writer still has to report to TensorDigests. It writes one after another from `since`
// on and has come to `first`: the leaves before that are hashed.
constexpr std::size_t untold(std::size_t since, std::size_t first, DType dtype) {
    const std::size_t leaf = digest_leaf_bytes / info(dtype).size;
    return std::max(since, first / leaf * leaf);
}

std::uint64_t xxh64(Bytes bytes);

// `count` elements in host byte order.
struct DigestSource {
    const void* data;
    std::size_t count;
    DType dtype;

    [[nodiscard]] std::size_t bytes() const { return count * info(dtype).size; }
};

// Digests of tensors that are just being written: leaves are hashed as soon as they are whole, while the cache still
// has them. The hashes are those of little-endian bytes.
class TensorDigests {
  public:
    explicit TensorDigests(std::span<const DigestSource> tensors);

    // To be called when bytes [begin, end) of a tensor have their values. Several threads may report different bytes.
    void written(std::size_t tensor, std::size_t begin, std::size_t end) { written({&tensor, 1}, begin, end); }
    // The same for several tensors of one size, whose leaves are hashed side by side.
    void written(std::span<const std::size_t> tensors, std::size_t begin, std::size_t end);
    // The digest of each tensor, when all bytes have their values.
    [[nodiscard]] Vector<std::uint64_t> finish(std::size_t threads);

  private:
    struct Leaf {
        std::size_t tensor, number;
    };
    [[nodiscard]] Bytes bytes_of(const Leaf& leaf) const;
    void store(const Leaf& leaf, std::uint64_t hash);
    void hash(std::span<const Leaf> leaves);

    Vector<DigestSource> tensors_;
    Vector<std::size_t> first_leaves_;  // of each tensor among the leaves of all, and the end of the last one
    Vector<std::uint8_t> hashes_;       // 8 little-endian bytes a leaf
    Vector<std::uint8_t> done_;         // by leaf
};

std::uint64_t tensor_digest(const DigestSource& tensor, std::size_t threads);

}  // namespace vaecomp::core
