// Work sharing over threads. Results never depend on how many there are: each task writes its own bytes.
#pragma once

#include <cstddef>

#include "core/function_ref.hpp"

namespace vaecomp::core {

// The cores this process may use; what `threads = 0` means everywhere.
std::size_t available_cores();

// Runs task(i) for i in [0, tasks) on up to `threads` threads (0: available_cores), the caller's among them, in the
// floating-point environment of docs/kernels.md. The first exception ends the work and is rethrown.
void parallel_for(std::size_t tasks, std::size_t threads, FunctionRef<void(std::size_t)> task);

// The same for [0, items) cut into ranges of at most `grain` items: range(begin, end).
void parallel_ranges(std::size_t items, std::size_t grain, std::size_t threads,
                     FunctionRef<void(std::size_t, std::size_t)> range);

}  // namespace vaecomp::core
