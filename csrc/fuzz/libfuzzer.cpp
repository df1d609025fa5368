// libFuzzer's way to change archives.
#include <algorithm>

#include "fuzz/mutate.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
    using namespace vaecomp::core;
    fuzz::Random random(seed);
    const auto choice = random() % 8;
    const auto repair = choice == 0  ? fuzz::Repair::nothing
                        : choice > 2 ? fuzz::Repair::checksums
                                     : fuzz::Repair::checksums_and_digests;
    Vector<std::uint8_t> file(data, data + size);
    const auto bytes = [](std::uint8_t* at, std::size_t length, std::size_t room) {
        return LLVMFuzzerMutate(at, length, room);
    };
    fuzz::mutate(file, most, repair, random, bytes);
    std::copy(file.begin(), file.end(), data);
    return file.size();
}
