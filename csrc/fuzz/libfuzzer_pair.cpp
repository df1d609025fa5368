// libFuzzer's way to change a pack with a member behind it.
#include <algorithm>

#include "fuzz/libfuzzer.hpp"
#include "fuzz/pair.hpp"

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max, unsigned seed) {
    using namespace vaecomp::core;
    fuzz::Random random(seed);
    const fuzz::Repair repair = fuzz::choose_repair(random);
    fuzz::Pair pair = fuzz::split({data, size});
    fuzz::mutate_pair(pair, max, repair, random, fuzz::mutate_bytes_by_libfuzzer);
    const Vector<std::uint8_t> files = fuzz::join(pair);
    if (files.size() > max) return size;
    std::copy(files.begin(), files.end(), data);
    return files.size();
}
