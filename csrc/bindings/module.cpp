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

void set_error(int code, const char* message) {
    switch (code) {
        case VAECOMP_INVALID_ARGUMENT: return py::set_error(PyExc_ValueError, message);
        case VAECOMP_IO: return py::set_error(PyExc_OSError, message);
        case VAECOMP_OUT_OF_MEMORY:
        case VAECOMP_MEMORY_LIMIT: return py::set_error(PyExc_MemoryError, message);
        case VAECOMP_INTERNAL: return py::set_error(PyExc_RuntimeError, message);
        case VAECOMP_MISSING_PACK: return py::set_error(archive_error("MissingPackError"), message);
        case VAECOMP_UNSUPPORTED_VERSION: return py::set_error(archive_error("UnsupportedVersionError"), message);
        default: return py::set_error(archive_error("ArchiveError"), message);
    }
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
    bindings::register_quantise(module);
    bindings::register_writer(module);
}
