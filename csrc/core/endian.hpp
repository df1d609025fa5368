// Little-endian loads and stores at any alignment, on any host.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vaecomp::core {

inline constexpr bool host_is_little_endian = std::endian::native == std::endian::little;

template <std::integral T>
constexpr T byte_swapped(T value) {
    T result = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        result = static_cast<T>((result << 8) | ((value >> (8 * i)) & 0xff));
    }
    return result;
}

template <std::integral T>
T load_le(const std::uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return host_is_little_endian ? value : byte_swapped(value);
}

template <std::integral T>
void store_le(std::uint8_t* to, T value) {
    if (!host_is_little_endian) value = byte_swapped(value);
    std::memcpy(to, &value, sizeof(T));
}

// Reverses the bytes of `count` items of `item_size` (1, 2, 4 or 8) bytes from `from` to `to`; they may be the same.
void swap_items(const std::uint8_t* from, std::uint8_t* to, std::size_t count, std::size_t item_size);

}  // namespace vaecomp::core
