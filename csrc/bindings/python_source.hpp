// Files as Python holds them: bytes-like objects, and functions that read ranges.
#pragma once

#include <cstring>

#include "bindings/numpy.hpp"
#include "core/source.hpp"

namespace vaecomp::bindings {

class BufferSource : public Source {
  public:
    explicit BufferSource(const py::buffer& object) : buffer_(object), memory_(buffer_.bytes()) {}

    [[nodiscard]] std::uint64_t size() const override { return memory_.size(); }
    [[nodiscard]] std::size_t request_bytes() const override { return memory_.request_bytes(); }
    void read(std::uint64_t offset, std::span<std::uint8_t> out) const override { memory_.read(offset, out); }
    [[nodiscard]] const std::uint8_t* view(std::uint64_t offset) const override { return memory_.view(offset); }

  private:
    Buffer buffer_;
    MemorySource memory_;
};

// A function (offset, size) that returns as many bytes. It is called with the GIL, from any thread.
class FunctionSource : public Source {
  public:
    FunctionSource(std::uint64_t size, std::size_t request_bytes, py::function function)
        : size_(size), request_bytes_(request_bytes), function_(std::move(function)) {}

    [[nodiscard]] std::uint64_t size() const override { return size_; }
    [[nodiscard]] std::size_t request_bytes() const override { return request_bytes_; }
    void read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
        const py::gil_scoped_acquire acquire;
        const Buffer result(function_(offset, out.size()).cast<py::buffer>());
        if (result.bytes().size() != out.size()) {
            throw Error(ErrorCode::io, "asked for " + std::to_string(out.size()) + " bytes at offset " +
                                           std::to_string(offset) + ", got " + std::to_string(result.bytes().size()) +
                                           "; the file is shorter than it was");
        }
        if (!out.empty()) std::memcpy(out.data(), result.bytes().data(), out.size());
    }

  private:
    std::uint64_t size_;
    std::size_t request_bytes_;
    py::function function_;
};

}  // namespace vaecomp::bindings
