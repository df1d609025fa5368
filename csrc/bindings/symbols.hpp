// Symbols of a quantized matrix on Python's side.
#pragma once

#include "bindings/numpy.hpp"
#include "format/matrix_shape.hpp"
#include "quantize/symbols.hpp"

namespace vaecomp::core::bindings {

// Symbols as they are, int8 or int16.
inline Symbols symbols_of(const py::array& array) {
    if (py::isinstance<Contiguous<std::int8_t>>(array)) return span_of(Contiguous<std::int8_t>(array));
    require(py::isinstance<Contiguous<std::int16_t>>(array), "symbols must be C-contiguous int8 or int16");
    return span_of(Contiguous<std::int16_t>(array));
}

inline MatrixShape matrix_shape_of(const py::array& array) {
    require(array.ndim() == 2, "symbols must have shape [rows, columns]");
    return {static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

}  // namespace vaecomp::core::bindings
