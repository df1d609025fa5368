#include "bindings/numpy.hpp"
#include "bindings/register.hpp"
#include "encode/symbols.hpp"
#include "entropy/symbol_stream.hpp"
#include "format/layout.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;

py::bytes encode(const Contiguous<std::int32_t>& symbols, const std::vector<std::size_t>& segments, std::size_t lanes) {
    const std::span<const std::int32_t> values = span_of(symbols);
    Vector<std::uint8_t> stream;
    {
        const py::gil_scoped_release release;
        stream = encode_symbols(values, segments, lanes);
    }
    return bytes_of(stream);
}

py::array decode(const py::buffer& data, std::size_t threads, const std::optional<py::array>& given) {
    const Buffer buffer(data);
    ByteReader reader(buffer.bytes(), 0, "symbol stream");
    constexpr SymbolRange any{std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
    SymbolStream stream(reader, any, max_expansion * buffer.bytes().size());
    stream.place_in(reader);
    reader.expect_end("end");
    py::array symbols = given ? *given : py::array_t<std::int32_t>(static_cast<py::ssize_t>(stream.count()));
    auto* first = reinterpret_cast<std::int32_t*>(writable(symbols, DType::i32, stream.count()));
    const std::span<std::int32_t> out{first, stream.count()};
    {
        const py::gil_scoped_release release;
        stream.decode(MemorySource(buffer.bytes()), out, threads);
    }
    return symbols;
}

}  // namespace

void register_entropy(py::module_& module) {
    module.def("encode_symbols", &encode, "symbols"_a, "segments"_a, "lanes"_a = 0);
    module.def("decode_symbols", &decode, "data"_a, "threads"_a = 0, "out"_a = py::none());
}

}  // namespace vaecomp::core::bindings
