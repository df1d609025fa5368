// What libFuzzer's ways to change archives share.
#pragma once

#include "fuzz/mutate.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

namespace vaecomp::core::fuzz {

inline Repair choose_repair(Random& random) {
    const auto choice = random() % 8;
    return choice == 0 ? Repair::nothing : choice > 2 ? Repair::checksums : Repair::checksums_and_digests;
}

inline constexpr auto mutate_bytes_by_libfuzzer = [](std::uint8_t* at, std::size_t length, std::size_t room) {
    return LLVMFuzzerMutate(at, length, room);
};

}  // namespace vaecomp::core::fuzz
