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
    f8_e4m3fnuz = 17,
    f8_e5m2fnuz = 18,
    f8_e8m0fnu = 19,
    f4_e2m1fn_x2 = 20,  // two values a byte
    c32 = 21,
    // Of fewer than eight bits: a byte each, whose other bits may be anything.
    i1 = 22,
    i2 = 23,
    i3 = 24,
    i4 = 25,
    i5 = 26,
    i6 = 27,
    i7 = 28,
    u1 = 29,
    u2 = 30,
    u3 = 31,
    u4 = 32,
    u5 = 33,
    u6 = 34,
    u7 = 35,
};

struct DTypeInfo {
    std::string_view name;   // that of NumPy, ml_dtypes or torch, whichever has it first
    std::uint8_t size;       // bytes an element
    std::uint8_t swap_size;  // bytes whose order depends on the host: half an element for complex types
};

inline constexpr std::array<DTypeInfo, 36> dtype_table = {{
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
    {"float8_e4m3fnuz", 1, 1},
    {"float8_e5m2fnuz", 1, 1},
    {"float8_e8m0fnu", 1, 1},
    {"float4_e2m1fn_x2", 1, 1},
    {"complex32", 4, 2},
    {"int1", 1, 1},
    {"int2", 1, 1},
    {"int3", 1, 1},
    {"int4", 1, 1},
    {"int5", 1, 1},
    {"int6", 1, 1},
    {"int7", 1, 1},
    {"uint1", 1, 1},
    {"uint2", 1, 1},
    {"uint3", 1, 1},
    {"uint4", 1, 1},
    {"uint5", 1, 1},
    {"uint6", 1, 1},
    {"uint7", 1, 1},
}};

constexpr const DTypeInfo& info(DType dtype) { return dtype_table[static_cast<std::size_t>(dtype)]; }
// The dtypes that floats are converted to, and that lossy codecs take. Other floats are only kept as they are.
constexpr bool is_real_float(DType dtype) { return dtype >= DType::f16 && dtype <= DType::f8_e5m2; }
constexpr bool is_complex(DType dtype) { return info(dtype).size != info(dtype).swap_size; }

}  // namespace vaecomp::core
