// What an archive is read from, as Python holds it: bytes-like objects, paths, and functions that read ranges.
#pragma once

#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "bindings/numpy.hpp"
#include "vaecomp.hpp"

namespace vaecomp::core::bindings {

// A function (offset, size) that returns as many bytes. It is called with the GIL, from any thread.
class RangeFunction {
  public:
    RangeFunction(std::uint64_t file_bytes, std::size_t request_bytes, py::function function)
        : function_(std::move(function)), file_bytes_(file_bytes), request_bytes_(request_bytes) {}

    [[nodiscard]] vaecomp_reader reader() { return {this, file_bytes_, request_bytes_, &RangeFunction::read}; }

    // What the function raised since this was last asked, if it did.
    std::exception_ptr take_failure() {
        const std::scoped_lock lock(mutex_);
        return std::exchange(failure_, nullptr);
    }

  private:
    static int read(void* context, std::uint64_t offset, void* data, std::size_t size) {
        auto& own = *static_cast<RangeFunction*>(context);
        try {
            own.fill(offset, {static_cast<std::uint8_t*>(data), size});
            return 0;
        } catch (...) {
            const std::scoped_lock lock(own.mutex_);
            own.failure_ = std::current_exception();
            return 1;
        }
    }

    void fill(std::uint64_t offset, std::span<std::uint8_t> out) const {
        const py::gil_scoped_acquire acquire;
        const Buffer result(function_(offset, out.size()).cast<py::buffer>());
        if (result.bytes().size() != out.size()) {
            throw Error(ErrorCode::io, "asked for " + std::to_string(out.size()) + " bytes at offset " +
                                           std::to_string(offset) + ", got " + std::to_string(result.bytes().size()) +
                                           "; the file is shorter than it was");
        }
        std::memcpy(out.data(), result.bytes().data(), out.size());
    }

    py::function function_;
    std::uint64_t file_bytes_;
    std::size_t request_bytes_;
    std::mutex mutex_;
    std::exception_ptr failure_;
};

}  // namespace vaecomp::core::bindings
