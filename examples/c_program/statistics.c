#include "statistics.h"

#include <math.h>
#include <string.h>
#include <vaecomp.h>

static double from_float16(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 0    ? ldexp(fraction, -24)
                  : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                   : ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -size : size;
}

static double from_bfloat16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof(value));
    return value;
}

/* Reads one element, which may lie at any address. Returns 0, or -1 for an unknown dtype. */
static int value_at(const unsigned char* at, int32_t dtype, double* value) {
#define READ(type, convert)                    \
    do {                                       \
        type element;                          \
        memcpy(&element, at, sizeof(element)); \
        *value = convert(element);             \
        return 0;                              \
    } while (0)
    switch (dtype) {
        case VAECOMP_BOOL:
        case VAECOMP_UINT8: READ(uint8_t, (double));
        case VAECOMP_INT8: READ(int8_t, (double));
        case VAECOMP_UINT16: READ(uint16_t, (double));
        case VAECOMP_INT16: READ(int16_t, (double));
        case VAECOMP_UINT32: READ(uint32_t, (double));
        case VAECOMP_INT32: READ(int32_t, (double));
        case VAECOMP_UINT64: READ(uint64_t, (double));
        case VAECOMP_INT64: READ(int64_t, (double));
        case VAECOMP_FLOAT16: READ(uint16_t, from_float16);
        case VAECOMP_BFLOAT16: READ(uint16_t, from_bfloat16);
        case VAECOMP_FLOAT32: READ(float, (double));
        case VAECOMP_FLOAT64: READ(double, (double));
        default: return -1;
    }
#undef READ
}

int describe(const void* data, size_t count, int32_t dtype, Statistics* statistics) {
    const unsigned char* bytes = data;
    size_t size = vaecomp_dtype_bytes(dtype);
    double minimum = INFINITY, maximum = -INFINITY, mean = 0, squares = 0;
    for (size_t i = 0; i < count; ++i) {
        double value;
        if (value_at(bytes + i * size, dtype, &value) != 0) return -1;
        minimum = fmin(minimum, value);
        maximum = fmax(maximum, value);
        /* Welford's method (1962) loses no digits to large sums. */
        double before = value - mean;
        mean += before / (double)(i + 1);
        squares += before * (value - mean);
    }
    *statistics = (Statistics){minimum, maximum, mean, sqrt(squares / (double)count)};
    return 0;
}
