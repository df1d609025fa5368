// The memory of one archive: the caller's allocator or the system's, up to a limit.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "core/context.hpp"
#include "core/error.hpp"
#include "vaecomp.h"

namespace vaecomp::core {

class ArchiveMemory : public Memory {
  public:
    ArchiveMemory(const vaecomp_allocator& allocator, std::uint64_t limit) : allocator_(allocator), limit_(limit) {}

    void* allocate(std::size_t bytes, std::size_t alignment) override {
        take(bytes);
        void* const data = allocator_.allocate != nullptr
                               ? allocator_.allocate(allocator_.context, bytes, alignment)
                               : ::operator new(bytes, std::align_val_t(alignment), std::nothrow);
        if (data != nullptr) return data;
        used_ -= bytes;
        throw std::bad_alloc();
    }

    void deallocate(void* data, std::size_t bytes, std::size_t alignment) noexcept override {
        if (allocator_.allocate != nullptr) {
            allocator_.deallocate(allocator_.context, data, bytes, alignment);
        } else {
            ::operator delete(data, std::align_val_t(alignment));
        }
        used_ -= bytes;
    }

  private:
    void take(std::size_t bytes) {
        const std::uint64_t before = used_.fetch_add(bytes);
        if (limit_ == 0 || (before <= limit_ && bytes <= limit_ - before)) return;
        used_ -= bytes;
        throw Error(ErrorCode::memory_limit, "the archive needs more than the " + std::to_string(limit_) +
                                                 " bytes of memory that the options allow; raise memory_limit");
    }

    vaecomp_allocator allocator_;
    std::uint64_t limit_;
    std::atomic<std::uint64_t> used_{0};
};

}  // namespace vaecomp::core
