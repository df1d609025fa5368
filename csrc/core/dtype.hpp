// Element types and their codes in the format (docs/format.md).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vaecomp::core {

enum class DType : std::uint8_t {
    boolean = 0,
    u8 = 1,
    i8 = 2,
    u16 = 3,
    i16 = 4,
    u32 = 5,
    i32 = 6,
    u64 = 7,
    i64 = 8,
    f16 = 9,
    bf16 = 10,
    f32 = 11,
    f64 = 12,
    f8_e4m3fn = 13,
    f8_e5m2 = 14,
    c64 = 15,
    c128 = 16,
};

struct DTypeInfo {
    std::string_view name;   // NumPy's name
    std::uint8_t size;       // bytes an element
    std::uint8_t swap_size;  // bytes whose order depends on the host: half an element for complex types
};

inline constexpr std::array<DTypeInfo, 17> dtype_table = {{
    {"bool", 1, 1},
    {"uint8", 1, 1},
    {"int8", 1, 1},
    {"uint16", 2, 2},
    {"int16", 2, 2},
    {"uint32", 4, 4},
    {"int32", 4, 4},
    {"uint64", 8, 8},
    {"int64", 8, 8},
    {"float16", 2, 2},
    {"bfloat16", 2, 2},
    {"float32", 4, 4},
    {"float64", 8, 8},
    {"float8_e4m3fn", 1, 1},
    {"float8_e5m2", 1, 1},
    {"complex64", 8, 4},
    {"complex128", 16, 8},
}};

constexpr const DTypeInfo& info(DType dtype) { return dtype_table[static_cast<std::size_t>(dtype)]; }
constexpr bool is_real_float(DType dtype) { return dtype >= DType::f16 && dtype <= DType::f8_e5m2; }

}  // namespace vaecomp::core
