#include "bindings/decoders.hpp"
#include "bindings/register.hpp"
#include "format/writer.hpp"

namespace vaecomp::bindings {
namespace {

using namespace pybind11::literals;

LatentsShape latents_shape(std::size_t decoder_section, std::size_t chunk_length, std::size_t padding,
                           const py::array& latents) {
    require(latents.ndim() == 2, "latents must have shape [chunks, latent]");
    return {decoder_section, chunk_length, static_cast<std::size_t>(latents.shape(0)),
            static_cast<std::size_t>(latents.shape(1)), padding};
}

// (name, "raw" | "latent", shape, dtype, section, digest) or (name, "alias", target).
Tensor tensor_of(const py::tuple& tuple) {
    Tensor tensor{};
    tensor.name = tuple[0].cast<std::string>();
    const auto codec = tuple[1].cast<std::string>();
    if (codec == "alias") {
        tensor.codec = Codec::alias;
        tensor.section = tuple[2].cast<std::size_t>();
        return tensor;
    }
    require(codec == "raw" || codec == "latent", "a tensor's codec must be raw, latent or alias");
    tensor.codec = codec == "raw" ? Codec::raw : Codec::latent;
    tensor.shape = tuple[2].cast<std::vector<std::size_t>>();
    tensor.dtype = dtype_of(tuple[3].cast<py::dtype>());
    tensor.section = tuple[4].cast<std::size_t>();
    tensor.digest = tuple[5].cast<std::uint64_t>();
    return tensor;
}

SectionKind kind_of(const std::string& name) {
    if (name == "raw") return SectionKind::raw;
    if (name == "latents") return SectionKind::latents;
    if (name == "integer_decoder") return SectionKind::integer_decoder;
    require(name == "float32_decoder", "a section must be raw, latents, integer_decoder or float32_decoder");
    return SectionKind::float32_decoder;
}

py::bytes write(const std::vector<std::pair<std::string, std::string>>& metadata,
                const std::vector<std::pair<std::string, py::buffer>>& sections,
                const std::vector<py::tuple>& tensors) {
    std::vector<Buffer> buffers;
    std::vector<NewSection> parts;
    for (const auto& [kind, bytes] : sections) {
        buffers.emplace_back(bytes);
        parts.push_back({kind_of(kind), buffers.back().bytes()});
    }
    std::vector<Tensor> table;
    for (const py::tuple& tensor : tensors) table.push_back(tensor_of(tensor));
    return bytes_of(write_archive(metadata, parts, table));
}

}  // namespace

void register_writer(py::module_& module) {
    module.def(
        "encode_integer_decoder",
        [](const std::vector<py::tuple>& layers, const std::vector<std::vector<std::size_t>>& segments) {
            return bytes_of(encode_integer_decoder(integer_layers(layers), segments));
        },
        "layers"_a, "segments"_a);
    module.def(
        "encode_float32_decoder",
        [](const std::vector<py::tuple>& layers) { return bytes_of(encode_float32_decoder(float32_layers(layers))); },
        "layers"_a);
    module.def(
        "encode_int8_latents",
        [](std::size_t decoder_section, std::size_t chunk_length, std::size_t padding,
           const Contiguous<std::int8_t>& latents, const std::vector<std::size_t>& segments) {
            return bytes_of(encode_int8_latents(latents_shape(decoder_section, chunk_length, padding, latents),
                                                span_of(latents), segments));
        },
        "decoder_section"_a, "chunk_length"_a, "padding"_a, "latents"_a, "segments"_a);
    module.def(
        "encode_float32_latents",
        [](std::size_t decoder_section, std::size_t chunk_length, std::size_t padding,
           const Contiguous<float>& latents) {
            return bytes_of(encode_float32_latents(latents_shape(decoder_section, chunk_length, padding, latents),
                                                   span_of(latents)));
        },
        "decoder_section"_a, "chunk_length"_a, "padding"_a, "latents"_a);
    module.def("write_archive", &write, "metadata"_a, "sections"_a, "tensors"_a);
}

}  // namespace vaecomp::bindings
