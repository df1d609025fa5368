// vaecomp_native._core: the core for Python. Kernels release the GIL.
#include <pybind11/pybind11.h>

#include "bindings/register.hpp"
#include "core/error.hpp"
#include "format/layout.hpp"
#include "vaecomp.hpp"

namespace py = pybind11;
using namespace vaecomp::core;

namespace {

// The exception classes live in vaecomp_native.errors, where they are documented.
py::object archive_error(const char* name) { return py::module_::import("vaecomp_native.errors").attr(name); }

py::object exception_of(int code) {
    switch (code) {
        case VAECOMP_INVALID_ARGUMENT: return py::reinterpret_borrow<py::object>(PyExc_ValueError);
        case VAECOMP_IO: return py::reinterpret_borrow<py::object>(PyExc_OSError);
        case VAECOMP_OUT_OF_MEMORY:
        case VAECOMP_MEMORY_LIMIT: return py::reinterpret_borrow<py::object>(PyExc_MemoryError);
        case VAECOMP_INTERNAL: return py::reinterpret_borrow<py::object>(PyExc_RuntimeError);
        case VAECOMP_MISSING_PACK: return archive_error("MissingPackError");
        case VAECOMP_UNSUPPORTED_VERSION: return archive_error("UnsupportedVersionError");
        default: return archive_error("ArchiveError");
    }
}

// Messages name paths, which may be any bytes.
void set_error(int code, const std::string& message) {
    PyObject* const text =
        PyUnicode_DecodeUTF8(message.data(), static_cast<py::ssize_t>(message.size()), "backslashreplace");
    if (text == nullptr) return;
    PyErr_SetObject(exception_of(code).ptr(), text);
    Py_DECREF(text);
}

// The core's own errors come from kernels and writer, the interface's from reading.
void translate(std::exception_ptr pointer) {
    try {
        if (pointer) std::rethrow_exception(pointer);
    } catch (const vaecomp::Error& error) {
        set_error(error.code(), error.what());
    } catch (const Error& error) {
        set_error(static_cast<int>(error.code()), error.what());
    }
}

}  // namespace

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
    module.doc() = "Native kernels, archive reader and writer of vaecomp_native.";
    module.attr("__version__") = VAECOMP_VERSION;
    module.attr("format_version") = static_cast<int>(format_version);
    py::register_exception_translator(&translate);
    bindings::register_dtypes(module);
    bindings::register_kernels(module);
    bindings::register_entropy(module);
    bindings::register_archive(module);
    bindings::register_quantize(module);
    bindings::register_writer(module);
}
