// Reading archives, and making members of packs. All that is read, of packs and members too, goes through the C
// interface, as it does for everybody else. What makes members goes around it, by ArchiveReader::pack() alone: the C
// interface gives tensors and no more, whereas training takes the decoders of a fleet, its slices and its positions, a
// member's latents are encoded with the fleet's tables, and a member's file is written after the pack's index.
#include <memory>
#include <optional>

#include "abi/open_archive.hpp"
#include "bindings/archive_source.hpp"
#include "bindings/fleet.hpp"
#include "bindings/register.hpp"
#include "encode/fleet.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;

const char* codec_name(vaecomp_codec codec) {
    switch (codec) {
        case VAECOMP_RAW: return "raw";
        case VAECOMP_LATENT: return "latent";
        case VAECOMP_QUANTIZED: return "quantized";
        case VAECOMP_LOSSLESS: return "lossless";
        case VAECOMP_MEMBER: return "member";
        case VAECOMP_SHARED: return "shared";
        case VAECOMP_DIFFERENCES: return "differences";
        case VAECOMP_ALIAS: break;
    }
    return "alias";
}

// An archive together with what it reads.
class ArchiveReader {
  public:
    ArchiveReader(const py::buffer& data, const Options& options)
        : buffer_(data), archive_(std::in_place, buffer_->bytes().data(), buffer_->bytes().size(), options) {}
    ArchiveReader(const std::string& path, const Options& options) : archive_(std::in_place, path, options) {}
    ArchiveReader(std::unique_ptr<RangeFunction> function, const Options& options) : function_(std::move(function)) {
        guarded([&] { archive_.emplace(function_->reader(), options); });
    }

    [[nodiscard]] py::list tensors() const {
        py::list result;
        for (std::size_t t = 0; t < archive_->size(); ++t) {
            const TensorInfo tensor = archive_->info(t);
            py::tuple shape(tensor.rank);
            for (std::size_t d = 0; d < tensor.rank; ++d) shape[d] = tensor.shape[d];
            const bool is_alias = tensor.codec == VAECOMP_ALIAS;
            const py::object target = is_alias ? py::object(py::int_(tensor.same_data_as)) : py::none();
            result.append(py::make_tuple(tensor.name, shape, numpy_dtype(static_cast<DType>(tensor.dtype)),
                                         codec_name(tensor.codec), target, tensor.bytes));
        }
        return result;
    }

    [[nodiscard]] py::dict metadata() const { return py::cast(archive_->metadata()); }

    [[nodiscard]] py::dict accounting() {
        vaecomp_accounting bytes{};
        unlocked([&] { bytes = archive_->accounting(); });
        return py::dict("container"_a = bytes.container, "decoder"_a = bytes.decoder, "latents"_a = bytes.latents,
                        "weights"_a = bytes.weights, "tables"_a = bytes.tables, "passthrough"_a = bytes.passthrough);
    }

    [[nodiscard]] py::list chunks() {
        std::vector<vaecomp_chunks> groups;
        unlocked([&] { groups = archive_->chunk_groups(); });
        py::list result;
        for (const vaecomp_chunks& group : groups) {
            result.append(py::make_tuple(group.chunks, group.chunk_length, group.latent, group.padding));
        }
        return result;
    }

    // (tensor, first element, array): each array has as many elements as are wanted from there on.
    using Parts = std::vector<std::tuple<std::size_t, std::size_t, py::array>>;

    void decode(const Parts& parts) {
        const std::vector<vaecomp_output> outputs = outputs_of(parts);
        unlocked([&] { archive_->decode(outputs); });
    }

    [[nodiscard]] std::vector<vaecomp_output> outputs_of(const Parts& parts) const {
        std::vector<vaecomp_output> outputs;
        for (const auto& [index, first, given] : parts) {
            py::array array = given;
            const auto count = static_cast<std::size_t>(array.size());
            const TensorInfo tensor = archive_->info(index);
            std::uint8_t* const data = writable(array, static_cast<DType>(tensor.dtype), count);
            outputs.push_back({index, first, count, data, static_cast<std::size_t>(array.nbytes())});
        }
        return outputs;
    }

    void verify() {
        unlocked([&] { archive_->verify(); });
    }

    [[nodiscard]] std::uint32_t version() const { return archive_->format_version(); }

    [[nodiscard]] py::bytes hash() { return bytes_of(file_hash()); }

    [[nodiscard]] py::object pack_hash() const {
        const std::optional<Hash> hash = archive_->pack_hash();
        return hash ? py::object(bytes_of(*hash)) : py::object(py::none());
    }

    [[nodiscard]] py::tuple fleet() {
        std::optional<FleetParts> parts;
        unlocked([&] { parts.emplace(pack(), threads()); });
        return tuple_of(*parts);
    }

    [[nodiscard]] py::bytes encode_member(const Contiguous<std::int8_t>& latents) {
        const FleetSection* section = nullptr;
        unlocked([&] { section = &pack().fleet(threads()).section(); });
        return bytes_of(core::encode_member(section->coding, span_of(latents)));
    }

    [[nodiscard]] py::bytes write_member(const MetadataList& metadata, const SectionList& sections,
                                         const std::vector<py::object>& tensors) {
        const Index& index = pack().index();
        return write_member_file({index, file_hash()}, metadata, sections, tensors);
    }

    [[nodiscard]] const vaecomp::Archive& archive() const { return *archive_; }
    [[nodiscard]] vaecomp_archive* handle() const { return archive_->get(); }

  private:
    // Of the core: what the C interface does not show.
    [[nodiscard]] const core::Archive& pack() const {
        require(handle()->archive().is_pack(), "this archive is no pack of a fleet; use the pack itself");
        return handle()->archive();
    }
    [[nodiscard]] Hash file_hash() {
        Hash hash{};
        unlocked([&] { hash = archive_->hash(); });
        return hash;
    }
    [[nodiscard]] std::size_t threads() const { return handle()->decoding().threads; }

    // What a Python function raised while it was read from comes through as it was.
    template <typename Body>
    void guarded(const Body& body) {
        try {
            body();
        } catch (const std::runtime_error&) {
            if (const std::exception_ptr failure = function_ ? function_->take_failure() : nullptr) {
                std::rethrow_exception(failure);
            }
            throw;
        }
    }

    template <typename Body>
    void unlocked(const Body& body) {
        const py::gil_scoped_release release;
        guarded(body);
    }

    std::optional<Buffer> buffer_;
    std::unique_ptr<RangeFunction> function_;
    std::optional<vaecomp::Archive> archive_;
};

Options options_of(bool verify, std::uint32_t threads, const ArchiveReader* pack) {
    Options options = default_options();
    options.verify = verify ? 1 : 0;
    options.threads = threads;
    options.pack = pack != nullptr ? pack->handle() : nullptr;
    return options;
}

void decode_members(const std::vector<std::pair<ArchiveReader*, ArchiveReader::Parts>>& members) {
    std::vector<MemberOutputs> wanted;
    for (const auto& [member, parts] : members) wanted.push_back({member->archive(), member->outputs_of(parts)});
    const py::gil_scoped_release release;
    vaecomp::decode_members(wanted);
}

std::uint64_t archive_bytes(const py::buffer& header) {
    const Buffer buffer(header);
    std::uint8_t start[VAECOMP_HEADER_BYTES] = {};
    std::copy_n(buffer.bytes().begin(), std::min(buffer.bytes().size(), sizeof(start)), start);
    std::uint64_t bytes = 0;
    detail::call(vaecomp_file_bytes, static_cast<const void*>(start), &bytes);
    return bytes;
}

}  // namespace

void register_archive(py::module_& module) {
    module.def("archive_bytes", &archive_bytes, "header"_a);
    using Pack = const ArchiveReader*;
    py::class_<ArchiveReader>(module, "ArchiveReader")
        .def(py::init([](const py::buffer& data, bool verify, std::uint32_t threads, Pack pack) {
                 return std::make_unique<ArchiveReader>(data, options_of(verify, threads, pack));
             }),
             "data"_a, "verify"_a = true, "threads"_a = 0, "pack"_a = py::none(), py::keep_alive<1, 5>())
        .def_static(
            "from_file",
            [](const std::string& path, bool verify, std::uint32_t threads, Pack pack) {
                return std::make_unique<ArchiveReader>(path, options_of(verify, threads, pack));
            },
            "path"_a, "verify"_a = true, "threads"_a = 0, "pack"_a = py::none(), py::keep_alive<0, 4>())
        .def_static(
            "from_function",
            [](std::uint64_t size, std::size_t request_bytes, py::function read, bool verify, std::uint32_t threads,
               Pack pack) {
                return std::make_unique<ArchiveReader>(
                    std::make_unique<RangeFunction>(size, request_bytes, std::move(read)),
                    options_of(verify, threads, pack));
            },
            "size"_a, "request_bytes"_a, "read"_a, "verify"_a = true, "threads"_a = 0, "pack"_a = py::none(),
            py::keep_alive<0, 6>())
        .def("hash", &ArchiveReader::hash)
        .def("pack_hash", &ArchiveReader::pack_hash)
        .def_property_readonly("version", &ArchiveReader::version)
        .def("tensors", &ArchiveReader::tensors)
        .def("metadata", &ArchiveReader::metadata)
        .def("accounting", &ArchiveReader::accounting)
        .def("chunks", &ArchiveReader::chunks)
        .def("decode", &ArchiveReader::decode, "parts"_a)
        .def("verify", &ArchiveReader::verify)
        .def("fleet", &ArchiveReader::fleet)
        .def("encode_member", &ArchiveReader::encode_member, "latents"_a)
        .def("write_member", &ArchiveReader::write_member, "metadata"_a, "sections"_a, "tensors"_a);
    module.def("decode_members", &decode_members, "members"_a);
}

}  // namespace vaecomp::core::bindings
