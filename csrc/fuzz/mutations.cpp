// mutations COUNT SEED ARCHIVE...: changes good archives at random, with checksums that fit and without, and decodes
// what comes out. Every change must be an error or without effect on the values. For a member, whose pack is among the
// archives, either file is changed.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <span>
#include <string>

#include "fuzz/pair.hpp"
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
    Vector<std::uint8_t> pack;  // of a member
    std::map<std::string, Expected> tensors;
};

std::string name_of(const vaecomp_tensor_info& info) { return {info.name, info.name_bytes}; }

// A file, with its pack if there is one.
Handle open_with(const Data& file, const Data& pack) {
    if (pack.empty()) return open(file.data(), file.size(), true);
    const Handle open_pack = open(pack.data(), pack.size(), true);
    return open_pack && is_quick(open_pack) ? open(file.data(), file.size(), true, open_pack.get()) : nullptr;
}

Data exact(const Vector<std::uint8_t>& file) { return {file.begin(), file.end()}; }

Data read(const char* path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

Golden load(const Data& file, const Vector<std::uint8_t>& pack) {
    const Data pack_bytes = exact(pack);
    const Handle archive = open_with(file, pack_bytes);
    VAECOMP_REQUIRE(archive != nullptr);
    Golden golden{{file.begin(), file.end()}, pack, {}};
    for (std::size_t t = 0; t < vaecomp_tensor_count(archive.get()); ++t) {
        const vaecomp_tensor_info own = info(archive, t);
        const Decoded tensor = decode(archive, t);
        VAECOMP_REQUIRE(tensor.code == VAECOMP_OK);
        golden.tensors[name_of(own)] = {own.dtype, {own.shape, own.shape + own.rank}, tensor.data};
    }
    return golden;
}

// Members with their packs, which are among the others.
std::vector<Golden> load_all(std::span<char* const> paths) {
    std::vector<Golden> goldens;
    std::vector<Data> members;
    for (const char* path : paths) {
        Data file = read(path);
        if (open(file.data(), file.size(), true) != nullptr) {
            goldens.push_back(load(file, {}));
        } else {
            members.push_back(std::move(file));
        }
    }
    const std::size_t alone = goldens.size();
    for (const Data& member : members) {
        const auto end = goldens.begin() + static_cast<std::ptrdiff_t>(alone);
        const auto pack = std::find_if(goldens.begin(), end, [&](const Golden& golden) {
            return open_with(member, exact(golden.file)) != nullptr;
        });
        VAECOMP_REQUIRE(pack != end);
        goldens.push_back(load(member, pack->file));
    }
    return goldens;
}

struct Counts {
    std::size_t files = 0, refused = 0, tensors = 0, decoded = 0, compared = 0;
};

// An alias has no digest of its own. Where checksums fit it may have become another tensor's alias.
bool must_be_same(const vaecomp_tensor_info& own, const Golden& golden, Repair repair) {
    if (repair == Repair::checksums_and_digests) return false;
    if (own.codec == VAECOMP_ALIAS && repair != Repair::nothing) return false;
    const auto expected = golden.tensors.find(name_of(own));
    return expected != golden.tensors.end() && expected->second.dtype == own.dtype &&
           expected->second.shape == std::vector<std::size_t>(own.shape, own.shape + own.rank);
}

void check(const Pair& changed, const Golden& golden, Repair repair, Counts& counts) {
    ++counts.files;
    const Data file = exact(changed.member), pack = exact(changed.pack);
    const Handle archive = open_with(file, pack);
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
    const std::vector<Golden> goldens = load_all(std::span(arguments + 3, arguments + count));
    Counts counts;
    for (std::size_t i = 0; i < wanted; ++i) {
        // Each by its own seed, so that one can be repeated alone.
        Random random(static_cast<Random::result_type>(seed + i));
        random.discard(3);
        const Golden& golden = goldens[random() % goldens.size()];
        const auto repair = static_cast<Repair>(random() % 3);
        Pair files{golden.pack, golden.file};
        const auto changes = 1 + random() % 3;
        const auto bytes = [&](std::uint8_t* data, std::size_t size, std::size_t max) {
            return mutate_bytes(data, size, max, random);
        };
        for (auto left = changes; left > 0; --left) {
            const std::size_t max = 2 * (golden.pack.size() + golden.file.size());
            if (golden.pack.empty()) {
                mutate(files.member, max, repair, random, bytes);
            } else {
                mutate_pair(files, max, repair, random, bytes);
            }
        }
        check(files, golden, repair, counts);
        if ((i + 1) % 100000 == 0) std::cout << i + 1 << " changed files" << std::endl;
    }
    std::cout << counts.files << " changed files, " << counts.refused << " refused at once; of " << counts.tensors
              << " tensors in the others " << counts.decoded << " decoded, " << counts.compared
              << " compared with the original: the same\n";
    return 0;
}
