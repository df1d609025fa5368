// Where a file's bytes come from: memory, a file, or anything that can be read by byte ranges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/bytes.hpp"
#include "core/containers.hpp"

namespace vaecomp::core {

// Safe to use from several threads at once. Ranges that are asked for lie within size().
class Source {
  public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    [[nodiscard]] virtual std::uint64_t size() const = 0;
    // How many bytes to ask for at a time where they lie side by side.
    [[nodiscard]] virtual std::size_t request_bytes() const = 0;
    // Fills `out` with the bytes from `offset` on. Throws io.
    virtual void read(std::uint64_t offset, std::span<std::uint8_t> out) const = 0;
    // Bytes that are in memory anyway; null where they are not.
    [[nodiscard]] virtual const std::uint8_t* view(std::uint64_t /*offset*/) const { return nullptr; }
};

// Bytes in memory, which must outlive the source. The first one stands at `offset` of the file.
class MemorySource : public Source {
  public:
    explicit MemorySource(Bytes bytes, std::uint64_t offset = 0) : bytes_(bytes), offset_(offset) {}

    [[nodiscard]] std::uint64_t size() const override { return offset_ + bytes_.size(); }
    [[nodiscard]] std::size_t request_bytes() const override { return 1; }
    void read(std::uint64_t offset, std::span<std::uint8_t> out) const override;
    [[nodiscard]] const std::uint8_t* view(std::uint64_t offset) const override {
        return bytes_.data() + (offset - offset_);
    }

  private:
    Bytes bytes_;
    std::uint64_t offset_;
};

// A range of a source: in place if it is in memory, otherwise a copy.
class LoadedBytes {
  public:
    LoadedBytes(const Source& source, std::uint64_t offset, std::uint64_t size);
    // Moved bytes stay where they are.
    LoadedBytes(LoadedBytes&&) = default;
    LoadedBytes& operator=(LoadedBytes&&) = default;

    [[nodiscard]] Bytes bytes() const { return bytes_; }

  private:
    Vector<std::uint8_t> copy_;
    Bytes bytes_;
};

}  // namespace vaecomp::core
