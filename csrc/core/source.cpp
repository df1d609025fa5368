#include "core/source.hpp"

#include <cstring>

namespace vaecomp::core {

void MemorySource::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
    if (!out.empty()) std::memcpy(out.data(), view(offset), out.size());
}

LoadedBytes::LoadedBytes(const Source& source, std::uint64_t offset, std::uint64_t size) {
    if (const std::uint8_t* const in_place = source.view(offset)) {
        bytes_ = {in_place, static_cast<std::size_t>(size)};
        return;
    }
    copy_.resize(static_cast<std::size_t>(size));
    source.read(offset, copy_);
    bytes_ = copy_;
}

}  // namespace vaecomp::core
