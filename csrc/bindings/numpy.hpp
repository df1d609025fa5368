// NumPy arrays on one side, the core's views and vectors on the other.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.hpp"
#include "core/dtype.hpp"
#include "core/error.hpp"
#include "kernels/chunk/flatten.hpp"

namespace vaecomp::core::bindings {

namespace py = pybind11;

template <typename T>
using Contiguous = py::array_t<T, py::array::c_style>;

inline void require(bool condition, const std::string& message) {
    if (!condition) throw Error(ErrorCode::invalid_argument, message);
}

// What stands for the archive's dtypes in NumPy, in any byte order (dtypes.cpp). Throws invalid_argument for others.
DType dtype_of(const py::dtype& dtype);
// In the host's byte order.
py::dtype numpy_dtype(DType dtype);

inline bool is_native(const py::dtype& dtype) { return dtype.attr("isnative").cast<bool>(); }

inline Vector<std::size_t> shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

inline TensorView view_of(const py::array& array) {
    const DType dtype = dtype_of(array.dtype());
    require(is_real_float(dtype), "dtype " + std::string(info(dtype).name) + " is no real float dtype");
    return {static_cast<const std::uint8_t*>(array.data()),
            shape_of(array),
            {array.strides(), array.strides() + array.ndim()},
            dtype,
            !is_native(array.dtype())};
}

// Where to write a tensor of this dtype and count into a caller's array.
inline std::uint8_t* writable(py::array& array, DType dtype, std::size_t count) {
    require(array.flags() & py::array::c_style, "an output array must be C-contiguous");
    require(
        dtype_of(array.dtype()) == dtype && is_native(array.dtype()) && static_cast<std::size_t>(array.size()) == count,
        "an output array must have the tensor's dtype, byte order and size");
    return static_cast<std::uint8_t*>(array.mutable_data());
}

// Any contiguous bytes-like object, kept alive by the request.
class Buffer {
  public:
    explicit Buffer(const py::buffer& object) : info_(object.request()) {
        py::ssize_t stride = info_.itemsize;
        for (py::ssize_t d = info_.ndim; d-- > 0; stride *= info_.shape[static_cast<std::size_t>(d)]) {
            require(
                info_.shape[static_cast<std::size_t>(d)] <= 1 || info_.strides[static_cast<std::size_t>(d)] == stride,
                "bytes must be contiguous");
        }
    }
    [[nodiscard]] Bytes bytes() const {
        return {static_cast<const std::uint8_t*>(info_.ptr), static_cast<std::size_t>(info_.size * info_.itemsize)};
    }

  private:
    py::buffer_info info_;
};

template <typename T>
std::span<const T> span_of(const Contiguous<T>& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

template <typename T>
Vector<T> vector_of(const Contiguous<T>& array) {
    return {array.data(), array.data() + array.size()};
}

// A new array.
template <typename T>
py::array_t<T> array_of(const Vector<T>& values, const std::vector<std::size_t>& shape) {
    py::array_t<T> array(shape);
    std::copy(values.begin(), values.end(), array.mutable_data());
    return array;
}

inline py::bytes bytes_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Bytes that are written to where they stay. `write` gets a Place, and runs without the GIL.
template <typename Write>
py::bytes bytes_written(const Write& write) {
    py::bytes bytes;
    const py::gil_scoped_release release;
    write([&](std::size_t size) {
        const py::gil_scoped_acquire acquire;
        PyObject* const fresh = PyBytes_FromStringAndSize(nullptr, static_cast<py::ssize_t>(size));
        if (fresh == nullptr) throw py::error_already_set();
        bytes = py::reinterpret_steal<py::bytes>(fresh);
        return reinterpret_cast<std::uint8_t*>(PyBytes_AS_STRING(fresh));
    });
    return bytes;
}

}  // namespace vaecomp::core::bindings
