#include "encode/payload.hpp"

#include <algorithm>
#include <cstring>

#include "core/parallel.hpp"

namespace vaecomp::core {
namespace {

// A task has many parts where these are small.
constexpr std::size_t most_copies = 1024;

}  // namespace

void Payload::move_to(std::uint8_t* out, std::size_t threads) {
    Vector<std::size_t> begins;
    std::size_t at = 0;
    for (const Vector<std::uint8_t>& part : parts_) {
        begins.push_back(at);
        at += part.size();
    }
    parallel_ranges(parts_.size(), parts_.size() / most_copies + 1, threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t p = begin; p < end; ++p) {
            std::memcpy(out + begins[p], parts_[p].data(), parts_[p].size());
            parts_[p] = {};
        }
    });
    *this = {};
}

void Payload::move_behind(Vector<std::uint8_t>& bytes, std::size_t threads) {
    const std::size_t before = bytes.size();
    bytes.resize(before + size_);
    move_to(bytes.data() + before, threads);
}

}  // namespace vaecomp::core
