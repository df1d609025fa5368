// Structures that begin with their size, in the size that the caller was compiled with (docs/versioning.md). A program
// may be older than the library, and its structures shorter, or newer, and its structures longer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "core/error.hpp"
#include "vaecomp.h"

namespace vaecomp::core {

struct Sized {
    const char* initializer;
    // Of the oldest programs, for ever: up to the end of what was the last member in the first version of the header.
    std::size_t first_bytes;
};
template <typename Structure>
inline constexpr Sized sized{};
template <>
inline constexpr Sized sized<vaecomp_error>{"VAECOMP_ERROR_INIT",
                                            offsetof(vaecomp_error, message) + sizeof(vaecomp_error::message)};
template <>
inline constexpr Sized sized<vaecomp_options>{"VAECOMP_OPTIONS_INIT",
                                              offsetof(vaecomp_options, pack) + sizeof(vaecomp_options::pack)};
template <>
inline constexpr Sized sized<vaecomp_tensor_info>{
    "VAECOMP_TENSOR_INFO_INIT",
    offsetof(vaecomp_tensor_info, same_data_as) + sizeof(vaecomp_tensor_info::same_data_as)};
template <>
inline constexpr Sized sized<vaecomp_accounting>{
    "VAECOMP_ACCOUNTING_INIT", offsetof(vaecomp_accounting, passthrough) + sizeof(vaecomp_accounting::passthrough)};
template <>
inline constexpr Sized sized<vaecomp_chunks>{"VAECOMP_CHUNKS_INIT",
                                             offsetof(vaecomp_chunks, padding) + sizeof(vaecomp_chunks::padding)};

// More than any structure will have: what claims more was not initialized.
inline constexpr std::size_t max_structure_bytes = 4096;

template <typename Structure>
bool has_size(const Structure& given) {
    return given.size >= sized<Structure>.first_bytes && given.size <= max_structure_bytes &&
           given.size % alignof(std::size_t) == 0;
}

template <typename Structure>
void require_size(const Structure& given) {
    if (has_size(given)) return;
    throw Error(ErrorCode::invalid_argument,
                std::string("a structure's size is not set; initialize it with ") + sized<Structure>.initializer);
}

// What an input says: defaults stand for members that the caller does not know. Those that the library does not know
// may only be zero, as it could not do what they ask for.
template <typename Structure>
Structure read_structure(const Structure& given, const Structure& defaults) {
    require_size(given);
    const auto* const bytes = reinterpret_cast<const unsigned char*>(&given);
    const std::size_t known = std::min(given.size, sizeof(Structure));
    if (std::any_of(bytes + known, bytes + given.size, [](unsigned char byte) { return byte != 0; })) {
        throw Error(ErrorCode::invalid_argument,
                    "a structure sets members that this version of the library does not have; update the library");
    }
    Structure own = defaults;
    std::memcpy(&own, &given, known);
    return own;
}

// Gives an output the members that the caller knows. Those that the library does not know stay as they are.
template <typename Structure>
void write_structure(Structure& out, Structure own) {
    require_size(out);
    own.size = out.size;
    std::memcpy(&out, &own, std::min(own.size, sizeof(Structure)));
}

// The next one in the caller's array.
template <typename Structure>
Structure* behind(Structure* given) {
    return reinterpret_cast<Structure*>(reinterpret_cast<unsigned char*>(given) + given->size);
}

}  // namespace vaecomp::core
