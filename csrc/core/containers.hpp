// Vectors and strings whose memory is the caller's: it comes from where Context said when the container was made, and
// goes back there.
#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "core/context.hpp"

namespace vaecomp::core {

template <typename T>
class Allocator {
  public:
    using value_type = T;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    Allocator() noexcept : memory_(Context::current().memory) {}
    template <typename Other>
    Allocator(const Allocator<Other>& other) noexcept : memory_(other.memory()) {}
    // A copy's memory comes from where the Context says when the copy is made.
    [[nodiscard]] Allocator select_on_container_copy_construction() const noexcept { return {}; }

    [[nodiscard]] T* allocate(std::size_t count) {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
        const std::size_t bytes = count * sizeof(T);
        if (memory_ != nullptr) return static_cast<T*>(memory_->allocate(bytes, alignof(T)));
        return static_cast<T*>(::operator new(bytes, std::align_val_t(alignof(T))));
    }
    void deallocate(T* data, std::size_t count) noexcept {
        if (memory_ != nullptr) return memory_->deallocate(data, count * sizeof(T), alignof(T));
        ::operator delete(data, std::align_val_t(alignof(T)));
    }

    [[nodiscard]] Memory* memory() const noexcept { return memory_; }
    friend bool operator==(const Allocator& a, const Allocator& b) { return a.memory_ == b.memory_; }

  private:
    Memory* memory_;
};

template <typename T>
using Vector = std::vector<T, Allocator<T>>;
using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;

}  // namespace vaecomp::core
