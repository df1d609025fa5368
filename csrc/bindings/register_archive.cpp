#include "bindings/numpy.hpp"
#include "bindings/register.hpp"
#include "decode/archive.hpp"

namespace vaecomp::bindings {
namespace {

using namespace pybind11::literals;

const char* codec_name(Codec codec) {
    switch (codec) {
        case Codec::raw: return "raw";
        case Codec::latent: return "latent";
        case Codec::residual: return "residual";
        case Codec::lossless: return "lossless";
        case Codec::alias: break;
    }
    return "alias";
}

// The core's archive together with the Python object whose bytes it reads.
class ArchiveReader {
  public:
    explicit ArchiveReader(const py::buffer& data) : buffer_(data), archive_(buffer_.bytes()) {}

    [[nodiscard]] py::list tensors() const {
        py::list result;
        for (const Tensor& tensor : archive_.index().tensors) {
            const py::object target = tensor.codec == Codec::alias ? py::object(py::int_(tensor.section)) : py::none();
            result.append(py::make_tuple(tensor.name, py::tuple(py::cast(tensor.shape)), numpy_dtype(tensor.dtype),
                                         codec_name(tensor.codec), target, tensor.bytes()));
        }
        return result;
    }

    [[nodiscard]] py::dict metadata() const {
        py::dict result;
        for (const auto& [key, value] : archive_.index().metadata) result[py::str(key)] = value;
        return result;
    }

    [[nodiscard]] py::dict accounting() const {
        Accounting bytes;
        {
            const py::gil_scoped_release release;
            bytes = archive_.accounting();
        }
        return py::dict("container"_a = bytes.container, "decoder"_a = bytes.decoder, "latents"_a = bytes.latents,
                        "residual"_a = bytes.residual, "tables"_a = bytes.tables, "passthrough"_a = bytes.passthrough);
    }

    [[nodiscard]] py::list chunks() const {
        std::vector<ChunkSummary> groups;
        {
            const py::gil_scoped_release release;
            groups = archive_.chunks();
        }
        py::list result;
        for (const ChunkSummary& group : groups) {
            result.append(py::make_tuple(group.chunks, group.chunk_length, group.latent, group.padding));
        }
        return result;
    }

    void decode(const std::vector<std::pair<std::size_t, py::array>>& outputs, bool verify, std::size_t threads) const {
        std::vector<Destination> destinations;
        for (const auto& [index, output] : outputs) {
            require(index < archive_.index().tensors.size(), "there is no tensor " + std::to_string(index));
            const Tensor& tensor = archive_.index().tensors[index];
            py::array array = output;
            destinations.push_back({index, writable(array, tensor.dtype, tensor.count())});
        }
        const py::gil_scoped_release release;
        archive_.decode(destinations, {.verify = verify, .threads = threads});
    }

    void verify(std::size_t threads) const {
        const py::gil_scoped_release release;
        archive_.verify(threads);
    }

    [[nodiscard]] int version() const { return archive_.index().version; }
    [[nodiscard]] std::uint64_t file_bytes() const { return archive_.index().file_bytes; }

  private:
    Buffer buffer_;
    Archive archive_;
};

}  // namespace

void register_archive(py::module_& module) {
    module.def("dtype_names", [] {
        std::vector<std::string> names;
        for (const DTypeInfo& dtype : dtype_table) names.emplace_back(dtype.name);
        return names;
    });
    py::class_<ArchiveReader>(module, "ArchiveReader")
        .def(py::init<const py::buffer&>(), "data"_a)
        .def_property_readonly("version", &ArchiveReader::version)
        .def_property_readonly("file_bytes", &ArchiveReader::file_bytes)
        .def("tensors", &ArchiveReader::tensors)
        .def("metadata", &ArchiveReader::metadata)
        .def("accounting", &ArchiveReader::accounting)
        .def("chunks", &ArchiveReader::chunks)
        .def("decode", &ArchiveReader::decode, "outputs"_a, "verify"_a = true, "threads"_a = 0)
        .def("verify", &ArchiveReader::verify, "threads"_a = 0);
}

}  // namespace vaecomp::bindings
