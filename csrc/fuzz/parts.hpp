// Archives taken apart and put together again, so that changed bytes get past the checksums.
#pragma once

#include <cstdint>
#include <optional>

#include "core/bytes.hpp"
#include "core/containers.hpp"
#include "core/sha256.hpp"
#include "decode/archive.hpp"
#include "format/layout.hpp"

namespace vaecomp::core::fuzz {

struct SectionPart {
    SectionKind kind;
    std::uint8_t flags;
    Vector<std::uint8_t> head;    // what the index's checksum covers, without the head's size
    Vector<std::uint8_t> blocks;  // what follows a head
};

struct Parts {
    Vector<std::uint8_t> pack;               // the hash of a member's pack; else empty
    Vector<std::uint8_t> metadata, tensors;  // what the index has before its sections, and behind them
    Vector<SectionPart> sections;
};

// Believes no checksum. Returns nothing if the index or the sections' sizes make no sense.
std::optional<Parts> take_apart(Bytes file);

// A file whose sizes and checksums fit what it holds, those of blocks as far as the heads can be read. A member's heads
// are read with its pack.
Vector<std::uint8_t> put_together(const Parts& parts, const Archive* pack = nullptr);

// If the file is a member, makes it one of the pack with this hash.
void name_pack(Vector<std::uint8_t>& member, const Sha256& hash);

// Puts right the checksums of header and index.
void seal_index(Vector<std::uint8_t>& file);

// Gives the tensors that can be decoded with little memory the digests of what they decode to.
void seal_digests(Vector<std::uint8_t>& file, const Archive* pack = nullptr);

}  // namespace vaecomp::core::fuzz
