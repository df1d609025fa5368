// The numbers of the file format (docs/format.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vaecomp::core {

inline constexpr std::array<std::uint8_t, 8> magic = {0x89, 'V', 'A', 'E', 'C', '\r', '\n', 0x1a};
inline constexpr std::uint16_t format_version = 1;
inline constexpr std::size_t header_bytes = 32, section_alignment = 64;
inline constexpr std::uint64_t max_index_bytes = std::uint64_t{1} << 30, max_metadata = 65536, max_sections = 65536,
                               max_tensors = std::uint64_t{1} << 24, max_name_bytes = std::uint64_t{1} << 26,
                               max_rank = 32, max_layers = 8, max_layer_width = std::uint64_t{1} << 20,
                               max_outputs = std::uint64_t{1} << 28, max_latent = 65536,
                               max_chunks = std::uint64_t{1} << 32, max_groups = 65536, max_slices = 256,
                               max_fleet_tables = 256;
// Decoded bytes are at most this many times the bytes they come from: 131,072 float64 that a quantized section makes of
// equal symbols take 9 bytes there.
inline constexpr std::uint64_t max_expansion = std::uint64_t{1} << 17;
// Multiplications that decoding may take for each byte of the file.
inline constexpr std::uint64_t max_work = std::uint64_t{1} << 24;

enum class SectionKind : std::uint8_t {
    raw = 1,
    latents = 2,
    integer_decoder = 3,
    float32_decoder = 4,
    quantized = 5,
    fleet = 6,
    lossless = 7,
    member = 8,
    differences = 9,
};
enum class Codec : std::uint8_t {
    raw = 0,
    latent = 1,
    alias = 2,
    quantized = 3,
    lossless = 4,
    member = 5,
    shared = 6,
    differences = 7,
};
// Of the header: the file is a member of a pack's fleet.
inline constexpr std::uint16_t member_flag = 1;

// How a member's latents are stored.
enum class MemberForm : std::uint8_t { stored = 0, coded = 1 };

// How a decoder's parameter array is stored.
enum class ParameterForm : std::uint8_t { absent = 0, one = 1, each = 2 };

// Where a section begins whose predecessor, or the index, ends at `end`: what is read in place is aligned.
constexpr std::uint64_t section_begin(SectionKind kind, std::uint64_t end) {
    if (kind != SectionKind::raw) return end;
    return (end + section_alignment - 1) / section_alignment * section_alignment;
}

}  // namespace vaecomp::core
