// What stands for the archive's dtypes in NumPy: its own dtypes, those of ml_dtypes, and structures of one layout for
// what neither has.
#include <atomic>

#include "bindings/numpy.hpp"
#include "bindings/register.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;

constexpr int void_number = 20;  // NumPy's type number of all structures
constexpr std::string_view complex32 = "complex32", real = "real", imaginary = "imag";

bool is_of_ml_dtypes(DType dtype) {
    switch (dtype) {
        case DType::bf16:
        case DType::f8_e4m3fn:
        case DType::f8_e5m2:
        case DType::f8_e4m3fnuz:
        case DType::f8_e5m2fnuz:
        case DType::f8_e8m0fnu: return true;
        default: return false;
    }
}

py::dtype structure(std::initializer_list<std::pair<std::string_view, const char*>> fields) {
    py::list list;
    for (const auto& [name, type] : fields) list.append(py::make_tuple(name, type));
    return py::dtype::from_args(list);
}

py::dtype make_dtype(DType dtype) {
    const std::string_view name = info(dtype).name;
    if (is_of_ml_dtypes(dtype)) {
        return py::dtype::from_args(py::module_::import("ml_dtypes").attr(std::string(name).c_str()));
    }
    if (dtype == DType::c32) return structure({{real, "f2"}, {imaginary, "f2"}});
    if (dtype == DType::f4_e2m1fn_x2 || (dtype >= DType::u1 && dtype <= DType::u7)) return structure({{name, "u1"}});
    if (dtype >= DType::i1 && dtype <= DType::i7) return structure({{name, "i1"}});
    return py::dtype(std::string(name));
}

// What the name of the archive's dtype would be.
std::string name_in_archive(const py::dtype& dtype) {
    if (dtype.num() != void_number) return dtype.attr("name").cast<std::string>();
    const py::object fields = dtype.attr("names");
    if (fields.is_none() || py::len(fields) == 0) return {};
    auto first = fields.cast<std::vector<std::string>>().front();
    return first == real ? std::string(complex32) : first;
}

std::optional<DType> find(std::string_view name) {
    for (std::size_t code = 0; code < dtype_table.size(); ++code) {
        if (dtype_table[code].name == name) return static_cast<DType>(code);
    }
    return std::nullopt;
}

DType look_up(const py::dtype& dtype) {
    const std::optional<DType> code = find(name_in_archive(dtype));
    // Others have such names too: ml_dtypes an int4 of its own.
    if (code && numpy_dtype(*code).equal(dtype.attr("newbyteorder")("="))) return *code;
    throw Error(ErrorCode::invalid_argument, "dtype " + py::str(dtype).cast<std::string>() +
                                                 " is not supported; see docs/format.md for those that are");
}

}  // namespace

py::dtype numpy_dtype(DType dtype) {
    // Until the process ends; ml_dtypes is imported only when one of its own occurs.
    static std::array<std::atomic<PyObject*>, dtype_table.size()> made{};
    std::atomic<PyObject*>& slot = made[static_cast<std::size_t>(dtype)];
    if (PyObject* const known = slot.load()) return py::reinterpret_borrow<py::dtype>(known);
    PyObject* expected = nullptr;
    py::dtype own = make_dtype(dtype);
    if (slot.compare_exchange_strong(expected, own.ptr())) own.inc_ref();
    return own;
}

DType dtype_of(const py::dtype& dtype) {
    // By type number, with 1 added: a look-up by name would be most of the time that a small tensor takes.
    static std::array<std::atomic<std::uint8_t>, 512> learned{};
    const int number = dtype.num();
    const bool is_one_dtype = number != void_number && number >= 0 && static_cast<std::size_t>(number) < learned.size();
    if (!is_one_dtype) return look_up(dtype);
    std::atomic<std::uint8_t>& slot = learned[static_cast<std::size_t>(number)];
    if (const std::uint8_t known = slot.load()) return static_cast<DType>(known - 1);
    const DType code = look_up(dtype);
    slot.store(static_cast<std::uint8_t>(static_cast<std::uint8_t>(code) + 1));
    return code;
}

void register_dtypes(py::module_& module) {
    module.def("dtype_names", [] {
        std::vector<std::string_view> names;
        for (const DTypeInfo& dtype : dtype_table) names.push_back(dtype.name);
        return names;
    });
    module.def(
        "dtype_name", [](const py::dtype& dtype) { return info(dtype_of(dtype)).name; }, "dtype"_a);
    module.def(
        "numpy_dtype",
        [](std::string_view name) {
            const std::optional<DType> code = find(name);
            require(code.has_value(), "archives have no dtype '" + std::string(name) + "'");
            return numpy_dtype(*code);
        },
        "name"_a);
}

}  // namespace vaecomp::core::bindings
