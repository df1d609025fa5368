// vaecomp_native._core: the core for Python. Kernels release the GIL.
#include <pybind11/pybind11.h>

#include "bindings/register.hpp"
#include "core/error.hpp"
#include "format/layout.hpp"

namespace py = pybind11;
using namespace vaecomp;

namespace {

// The exception classes live in vaecomp_native.errors, where they are documented.
const char* exception_class(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_argument: return nullptr;
        case ErrorCode::unsupported_version: return "UnsupportedVersionError";
        case ErrorCode::malformed:
        case ErrorCode::checksum:
        case ErrorCode::missing_section:
        case ErrorCode::io: break;
    }
    return "ArchiveError";
}

void translate(std::exception_ptr pointer) {
    try {
        if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
        const char* name = exception_class(error.code());
        if (error.code() == ErrorCode::io) {
            py::set_error(PyExc_OSError, error.what());
        } else if (name == nullptr) {
            py::set_error(PyExc_ValueError, error.what());
        } else {
            const py::object type = py::module_::import("vaecomp_native.errors").attr(name);
            py::set_error(type, error.what());
        }
    }
}

}  // namespace

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
    module.doc() = "Native kernels, archive reader and writer of vaecomp_native.";
    module.attr("__version__") = VAECOMP_VERSION;
    module.attr("format_version") = static_cast<int>(format_version);
    py::register_exception_translator(&translate);
    bindings::register_kernels(module);
    bindings::register_entropy(module);
    bindings::register_archive(module);
    bindings::register_quantise(module);
    bindings::register_writer(module);
}
