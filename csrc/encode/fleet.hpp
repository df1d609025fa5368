// Fleets and members to sections (docs/format.md, Fleet and Member).
#pragma once

#include <cstdint>
#include <span>

#include "core/containers.hpp"
#include "encode/histogram.hpp"
#include "format/fleet.hpp"

namespace vaecomp::core {

// `length` latents, one behind another, that occur as the histogram says.
struct LatentSegment {
    std::size_t length;
    Histogram histogram;
};

// All fields of the groups but `chunks` count.
Vector<std::uint8_t> encode_fleet(std::span<const LatentSegment> segments, std::span<const FleetGroup> groups);

// The member's section, in the shorter of both forms.
Vector<std::uint8_t> encode_member(const LatentCoding& coding, std::span<const std::int8_t> latents);

}  // namespace vaecomp::core
