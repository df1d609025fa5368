// mutations COUNT SEED ARCHIVE...: changes good archives at random, with checksums that fit and without, and decodes
// what comes out. Every change must be an error or without effect on the values.
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>

#include "fuzz/mutate.hpp"
#include "fuzz/target.hpp"

using namespace vaecomp::core;
using namespace vaecomp::core::fuzz;

namespace {

struct Expected {
    int dtype;
    std::vector<std::size_t> shape;
    Data data;
};

struct Golden {
    Vector<std::uint8_t> file;
    std::map<std::string, Expected> tensors;
};

std::string name_of(const vaecomp_tensor_info& info) { return {info.name, info.name_bytes}; }

Golden load(const char* path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    Golden golden{{bytes.begin(), bytes.end()}, {}};
    const Handle archive = open(golden.file.data(), golden.file.size(), true);
    VAECOMP_REQUIRE(archive != nullptr);
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive.get()); ++t) {
        const vaecomp_tensor_info own = info(archive, t);
        const Decoded tensor = decode(archive, t);
        VAECOMP_REQUIRE(tensor.code == VAECOMP_OK);
        golden.tensors[name_of(own)] = {own.dtype, {own.shape, own.shape + own.rank}, tensor.data};
    }
    return golden;
}

struct Counts {
    std::size_t files = 0, refused = 0, tensors = 0, decoded = 0, compared = 0;
};

// An alias has no digest of its own, and with checksums that fit it may be that of another tensor.
bool must_be_same(const vaecomp_tensor_info& own, const Golden& golden, Repair repair) {
    if (repair == Repair::checksums_and_digests) return false;
    if (own.codec == VAECOMP_ALIAS && repair != Repair::nothing) return false;
    const auto expected = golden.tensors.find(name_of(own));
    return expected != golden.tensors.end() && expected->second.dtype == own.dtype &&
           expected->second.shape == std::vector<std::size_t>(own.shape, own.shape + own.rank);
}

void check(const Vector<std::uint8_t>& file, const Golden& golden, Repair repair, Counts& counts) {
    ++counts.files;
    const Data exact(file.begin(), file.end());
    const Handle archive = open(exact.data(), exact.size(), true);
    if (!archive || !is_quick(archive)) {
        ++counts.refused;
        return;
    }
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive.get()); ++t) {
        const vaecomp_tensor_info own = info(archive, t);
        const Decoded tensor = decode(archive, t);
        ++counts.tensors;
        if (tensor.code != VAECOMP_OK) continue;
        ++counts.decoded;
        if (!must_be_same(own, golden, repair)) continue;
        ++counts.compared;
        VAECOMP_REQUIRE(tensor.data == golden.tensors.at(name_of(own)).data);
    }
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 4) {
        std::cerr << "usage: mutations COUNT SEED ARCHIVE...\n";
        return 2;
    }
    const std::size_t wanted = std::stoul(arguments[1]), seed = std::stoul(arguments[2]);
    std::vector<Golden> goldens;
    for (int i = 3; i < count; ++i) goldens.push_back(load(arguments[i]));
    Counts counts;
    for (std::size_t i = 0; i < wanted; ++i) {
        // Each by its own seed, so that one can be repeated alone.
        Random random(static_cast<Random::result_type>(seed + i));
        random.discard(3);
        const Golden& golden = goldens[random() % goldens.size()];
        const auto repair = static_cast<Repair>(random() % 3);
        Vector<std::uint8_t> file = golden.file;
        const auto changes = 1 + random() % 3;
        const auto bytes = [&](std::uint8_t* data, std::size_t size, std::size_t most) {
            return mutate_bytes(data, size, most, random);
        };
        for (auto left = changes; left > 0; --left) mutate(file, 2 * golden.file.size(), repair, random, bytes);
        check(file, golden, repair, counts);
        if ((i + 1) % 100000 == 0) std::cout << i + 1 << " changed files" << std::endl;
    }
    std::cout << counts.files << " changed files, " << counts.refused << " refused at once; of " << counts.tensors
              << " tensors in the others " << counts.decoded << " decoded, " << counts.compared
              << " compared with the original: the same\n";
    return 0;
}
