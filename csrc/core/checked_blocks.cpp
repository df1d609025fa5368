#include "core/checked_blocks.hpp"

#include <numeric>
#include <string>

#include "core/parallel.hpp"
#include "kernels/kernels.hpp"

namespace vaecomp::core {

Vector<std::size_t> blocks_between(std::size_t begin, std::size_t end, std::size_t block_items) {
    if (begin >= end) return {};
    Vector<std::size_t> numbers((end - 1) / block_items + 1 - begin / block_items);
    std::iota(numbers.begin(), numbers.end(), begin / block_items);
    return numbers;
}

std::uint64_t CheckedBlocks::place(std::uint64_t offset) {
    for (Block& block : blocks_) {
        block.offset = offset;
        offset += block.bytes;
    }
    return offset;
}

std::uint64_t CheckedBlocks::bytes() const {
    return std::accumulate(blocks_.begin(), blocks_.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const Block& block) { return sum + block.bytes; });
}

void CheckedBlocks::use_checked(std::size_t block, Bytes bytes, const Use& use) const {
    const auto where = [&] { return "block at offset " + std::to_string(blocks_[block].offset) + ": "; };
    if (kernels().crc32c(bytes.data(), bytes.size()) != blocks_[block].crc) {
        throw Error(ErrorCode::checksum, where() + "checksum does not match");
    }
    try {
        use(block, bytes);
    } catch (const Error& error) {
        throw Error(error.code(), where() + error.what());
    }
}

void CheckedBlocks::for_each(const Source& source, std::span<const std::size_t> numbers, std::size_t threads,
                             const Use& use) const {
    // Neighbours are read together, as far as the source likes it.
    struct Request {
        std::size_t first, count;  // of `numbers`
        std::uint64_t bytes;
    };
    Vector<Request> requests;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const std::uint64_t bytes = blocks_[numbers[i]].bytes;
        const bool joins =
            i > 0 && numbers[i] == numbers[i - 1] + 1 && requests.back().bytes + bytes <= source.request_bytes();
        if (!joins) requests.push_back({i, 0, 0});
        ++requests.back().count;
        requests.back().bytes += bytes;
    }
    parallel_for(requests.size(), threads, [&](std::size_t r) {
        const Request& request = requests[r];
        const std::uint64_t offset = blocks_[numbers[request.first]].offset;
        const LoadedBytes loaded(source, offset, request.bytes);
        for (std::size_t i = request.first; i < request.first + request.count; ++i) {
            const Block& block = blocks_[numbers[i]];
            const auto at = static_cast<std::size_t>(block.offset - offset);
            use_checked(numbers[i], loaded.bytes().subspan(at, static_cast<std::size_t>(block.bytes)), use);
        }
    });
}

}  // namespace vaecomp::core
