// An open archive: index, and sections decoded on demand into the caller's buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/bytes.hpp"
#include "format/index.hpp"
#include "format/sections.hpp"
#include "kernels/chunk/chunk.hpp"

namespace vaecomp {

// Bytes of the file by what they are for; they add up to the file's size.
struct Accounting {
    std::uint64_t container = 0, decoder = 0, latents = 0, residual = 0, tables = 0, passthrough = 0;
};

// The chunks that one latents section makes.
struct ChunkSummary {
    std::size_t section, chunk_length, chunks, latent, padding;
};

struct DecodeOptions {
    bool verify = true;  // compare every tensor with its digest
    std::size_t threads = 0;
};

// Where tensor `tensor` of the index goes: contiguous, host byte order, exactly as many bytes as the tensor has.
struct Destination {
    std::size_t tensor;
    std::uint8_t* data;
};

// Safe to use from several threads at once.
class Archive {
  public:
    // The bytes must outlive the archive. Reads and checks the index; sections are checked when they are used.
    explicit Archive(Bytes file);
    ~Archive();

    [[nodiscard]] const Index& index() const { return index_; }
    void decode(std::span<const Destination> destinations, const DecodeOptions& options) const;
    // Checks every section and every digest.
    void verify(std::size_t threads) const;
    [[nodiscard]] Accounting accounting() const;
    [[nodiscard]] std::vector<ChunkSummary> chunks() const;

  private:
    struct Group;
    // A section's bytes, after comparing them with their checksum.
    [[nodiscard]] Bytes checked_section(std::size_t section) const;
    [[nodiscard]] ByteReader section_reader(std::size_t section) const;
    void check_contents(std::size_t section, std::size_t threads) const;
    // What the file's size allows a stream of symbols to number.
    [[nodiscard]] std::uint64_t most_symbols() const { return most_expansion * index_.file_bytes; }
    [[nodiscard]] const Group& group(std::size_t section, std::size_t threads) const;
    [[nodiscard]] std::unique_ptr<Group> load_group(std::size_t section, std::size_t threads) const;
    void decode_raw(const Tensor& tensor, std::uint8_t* data) const;
    // `data` by tensor index, null for a tensor that nobody asks for.
    void decode_group(const Group& group, std::span<std::uint8_t* const> data, std::size_t threads) const;
    void check_digest(const Tensor& tensor, const std::uint8_t* data, std::size_t threads) const;

    Bytes file_;
    Index index_;
    mutable std::mutex groups_mutex_;
    mutable std::vector<std::unique_ptr<Group>> groups_;  // by section, loaded on first use
};

}  // namespace vaecomp
