// The part of a section that follows its head, in the pieces that threads made of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/containers.hpp"
#include "core/function_ref.hpp"

namespace vaecomp::core {

// Gives memory for so many bytes, to be filled.
using Place = FunctionRef<std::uint8_t*(std::size_t bytes)>;

template <typename Write>
Vector<std::uint8_t> in_vector(const Write& write) {
    Vector<std::uint8_t> bytes;
    write([&](std::size_t size) {
        bytes.resize(size);
        return bytes.data();
    });
    return bytes;
}

// Bytes are copied once, to where they stay.
class Payload {
  public:
    void append(Vector<std::uint8_t> part) {
        size_ += part.size();
        if (!part.empty()) parts_.push_back(std::move(part));
    }
    void append(Payload&& other) {
        for (Vector<std::uint8_t>& part : other.parts_) append(std::move(part));
        other = {};
    }

    [[nodiscard]] std::size_t size() const { return size_; }
    // Copies all bytes to `out`, and gives up their memory.
    void move_to(std::uint8_t* out, std::size_t threads);
    void move_behind(Vector<std::uint8_t>& bytes, std::size_t threads);

  private:
    Vector<Vector<std::uint8_t>> parts_;
    std::size_t size_ = 0;
};

}  // namespace vaecomp::core
