/* Statistics of a tensor's numbers. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    double minimum, maximum, mean, deviation;
} Statistics;

/* Describes `count` elements of a vaecomp_dtype; `count` is at least 1. Returns 0, or -1 for a dtype that it cannot
 * read. */
int describe(const void* data, size_t count, int32_t dtype, Statistics* statistics);

#endif
