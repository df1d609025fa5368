#include "fuzz/pair.hpp"

#include <optional>

#include "abi/memory.hpp"
#include "core/sha256.hpp"
#include "decode/archive.hpp"
#include "fuzz/limits.hpp"
#include "fuzz/parts.hpp"

namespace vaecomp::core::fuzz {

Pair split(Bytes files) {
    std::size_t end = files.size();
    try {
        if (files.size() >= header_bytes) {
            end = static_cast<std::size_t>(std::min<std::uint64_t>(end, read_file_bytes(files.first(header_bytes))));
        }
    } catch (const Error&) {
    }
    return {{files.begin(), files.begin() + static_cast<std::ptrdiff_t>(end)},
            {files.begin() + static_cast<std::ptrdiff_t>(end), files.end()}};
}

Vector<std::uint8_t> join(const Pair& pair) {
    Vector<std::uint8_t> files = pair.pack;
    files.insert(files.end(), pair.member.begin(), pair.member.end());
    return files;
}

void mutate_pair(Pair& pair, std::size_t max, Repair repair, Random& random, MutateBytes mutate_bytes) {
    const bool of_pack = random() % 2 == 0;
    const auto room = [&](const Vector<std::uint8_t>& other) { return max > other.size() ? max - other.size() : 0; };
    if (of_pack) mutate(pair.pack, room(pair.member), repair, random, mutate_bytes);
    const MemorySource source(pair.pack);
    ArchiveMemory memory({}, max_memory);
    std::optional<Archive> pack;
    try {
        const ContextScope scope({&memory, nullptr, false});
        pack.emplace(source);
        if (repair != Repair::nothing) name_pack(pair.member, pack->hash());
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {
    }
    const Archive* const open = pack && pack->is_pack() ? &*pack : nullptr;
    if (!of_pack) mutate(pair.member, room(pair.pack), repair, random, mutate_bytes, open);
    if (of_pack && repair == Repair::checksums_and_digests && open != nullptr) seal_digests(pair.member, open);
}

}  // namespace vaecomp::core::fuzz
