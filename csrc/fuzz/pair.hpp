// A pack and a member of it, one behind the other: what the target "member" takes.
#pragma once

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "fuzz/mutate.hpp"

namespace vaecomp::core::fuzz {

struct Pair {
    Vector<std::uint8_t> pack, member;
};

// The pack ends where its header says. If the header says nothing of use, all bytes are the pack.
Pair split(Bytes files);
Vector<std::uint8_t> join(const Pair& pair);

// Changes the pack or the member as `mutate` does. Where checksums are repaired, the member names the changed pack.
void mutate_pair(Pair& pair, std::size_t max, Repair repair, Random& random, MutateBytes mutate);

}  // namespace vaecomp::core::fuzz
