#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "core/containers.hpp"
#include "core/cpu.hpp"
#include "core/error.hpp"

namespace vaecomp::core::testing {

// Runs `body` once for every instruction set this processor has.
inline void for_every_isa(const std::function<void(Isa)>& body) {
    const Isa before = active_isa();
    for (const Isa isa : available_isas()) {
        SCOPED_TRACE(std::string(name(isa)));
        set_isa(name(isa));
        body(isa);
    }
    set_isa(name(before));
}

inline void expect_error(ErrorCode code, const std::string& part, const std::function<void()>& body) {
    try {
        body();
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), code) << error.what();
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
}

template <typename T>
Vector<T> random_integers(std::size_t count, int min, int max, unsigned seed) {
    std::mt19937 generator(seed);
    std::uniform_int_distribution<int> draw(min, max);
    Vector<T> values(count);
    for (T& value : values) value = static_cast<T>(draw(generator));
    return values;
}

inline Vector<float> random_floats(std::size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> draw;
    Vector<float> values(count);
    for (float& value : values) value = draw(generator);
    return values;
}

}  // namespace vaecomp::core::testing
