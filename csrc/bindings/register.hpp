#pragma once

#include <pybind11/pybind11.h>

namespace vaecomp::core::bindings {

void register_dtypes(pybind11::module_& module);
void register_kernels(pybind11::module_& module);
void register_entropy(pybind11::module_& module);
void register_archive(pybind11::module_& module);
void register_quantize(pybind11::module_& module);
void register_writer(pybind11::module_& module);

}  // namespace vaecomp::core::bindings
