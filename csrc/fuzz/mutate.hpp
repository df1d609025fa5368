// Changed archives. Most of them get past the checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

#include "core/containers.hpp"
#include "core/function_ref.hpp"
#include "decode/archive.hpp"

namespace vaecomp::core::fuzz {

using Random = std::minstd_rand;

// Changes `size` bytes at `data`, where `max` have room, and returns how many there are then. It is LLVMFuzzerMutate or
// mutate_bytes.
using MutateBytes = FunctionRef<std::size_t(std::uint8_t* data, std::size_t size, std::size_t max)>;

// Flips, overwrites, inserts, removes and repeats bytes at random.
std::size_t mutate_bytes(std::uint8_t* data, std::size_t size, std::size_t max, Random& random);

enum class Repair { nothing, checksums, checksums_and_digests };

// Changes `file`, a member if there is a pack, in one place, or several with `mutate`. It grows to at most `max` bytes.
void mutate(Vector<std::uint8_t>& file, std::size_t max, Repair repair, Random& random, MutateBytes mutate,
            const Archive* pack = nullptr);

}  // namespace vaecomp::core::fuzz
