// libFuzzer's way to change archives.
#include "fuzz/libfuzzer.hpp"

#include <algorithm>

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max, unsigned seed) {
    using namespace vaecomp::core;
    fuzz::Random random(seed);
    const fuzz::Repair repair = fuzz::choose_repair(random);
    Vector<std::uint8_t> file(data, data + size);
    fuzz::mutate(file, max, repair, random, fuzz::mutate_bytes_by_libfuzzer);
    std::copy(file.begin(), file.end(), data);
    return file.size();
}
