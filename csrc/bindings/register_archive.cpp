#include <memory>

#include "bindings/numpy.hpp"
#include "bindings/python_source.hpp"
#include "bindings/register.hpp"
#include "core/file_source.hpp"
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

// The core's archive together with what it reads.
class ArchiveReader {
  public:
    explicit ArchiveReader(std::unique_ptr<Source> source) : source_(std::move(source)), archive_(*source_) {}

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
            const Tensor& tensor = tensor_at(index);
            py::array array = output;
            destinations.push_back({index, writable(array, tensor.dtype, tensor.count())});
        }
        const py::gil_scoped_release release;
        archive_.decode(destinations, {.verify = verify, .threads = threads});
    }

    // As many elements as the array has, from element `first` on.
    void decode_part(std::size_t index, std::size_t first, py::array output, bool verify, std::size_t threads) const {
        const auto count = static_cast<std::size_t>(output.size());
        const Destination part{index, writable(output, tensor_at(index).dtype, count), first, count};
        const py::gil_scoped_release release;
        archive_.decode({&part, 1}, {.verify = verify, .threads = threads});
    }

    void verify(std::size_t threads) const {
        const py::gil_scoped_release release;
        archive_.verify(threads);
    }

    [[nodiscard]] int version() const { return archive_.index().version; }
    [[nodiscard]] std::uint64_t file_bytes() const { return archive_.index().file_bytes; }

  private:
    [[nodiscard]] const Tensor& tensor_at(std::size_t index) const {
        require(index < archive_.index().tensors.size(), "there is no tensor " + std::to_string(index));
        return archive_.index().tensors[index];
    }

    std::unique_ptr<Source> source_;
    Archive archive_;
};

std::unique_ptr<ArchiveReader> from_buffer(const py::buffer& data) {
    return std::make_unique<ArchiveReader>(std::make_unique<BufferSource>(data));
}

std::unique_ptr<ArchiveReader> from_file(const std::string& path) {
    return std::make_unique<ArchiveReader>(std::make_unique<FileSource>(path));
}

std::unique_ptr<ArchiveReader> from_function(std::uint64_t size, std::size_t request_bytes, py::function read) {
    return std::make_unique<ArchiveReader>(std::make_unique<FunctionSource>(size, request_bytes, std::move(read)));
}

}  // namespace

void register_archive(py::module_& module) {
    module.def("dtype_names", [] {
        std::vector<std::string> names;
        for (const DTypeInfo& dtype : dtype_table) names.emplace_back(dtype.name);
        return names;
    });
    module.def(
        "archive_bytes", [](const py::buffer& header) { return read_file_bytes(Buffer(header).bytes()); }, "header"_a);
    py::class_<ArchiveReader>(module, "ArchiveReader")
        .def(py::init(&from_buffer), "data"_a)
        .def_static("from_file", &from_file, "path"_a)
        .def_static("from_function", &from_function, "size"_a, "request_bytes"_a, "read"_a)
        .def_property_readonly("version", &ArchiveReader::version)
        .def_property_readonly("file_bytes", &ArchiveReader::file_bytes)
        .def("tensors", &ArchiveReader::tensors)
        .def("metadata", &ArchiveReader::metadata)
        .def("accounting", &ArchiveReader::accounting)
        .def("chunks", &ArchiveReader::chunks)
        .def("decode", &ArchiveReader::decode, "outputs"_a, "verify"_a = true, "threads"_a = 0)
        .def("decode_part", &ArchiveReader::decode_part, "index"_a, "first"_a, "output"_a, "verify"_a = true,
             "threads"_a = 0)
        .def("verify", &ArchiveReader::verify, "threads"_a = 0);
}

}  // namespace vaecomp::bindings
