// A pack and a member of it, one behind the other: what the target "member" takes.
#pragma once

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "fuzz/mutate.hpp"

namespace vaecomp::core::fuzz {

struct Pair {
    Vector<std::uint8_t> pack, member;
};

// Where the first file's header says that it ends; all is the pack if it says nothing of use.
Pair split(Bytes files);
Vector<std::uint8_t> join(const Pair& pair);

// As `mutate`: changes the pack or the member. Where checksums are repaired, the member names the pack as it is then.
void mutate_pair(Pair& pair, std::size_t most, Repair repair, Random& random, MutateBytes mutate);

}  // namespace vaecomp::core::fuzz
