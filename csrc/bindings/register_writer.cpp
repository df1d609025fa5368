#include "bindings/decoders.hpp"
#include "bindings/fleet.hpp"
#include "bindings/register.hpp"
#include "bindings/symbols.hpp"
#include "encode/differences.hpp"
#include "encode/latents.hpp"
#include "encode/lossless.hpp"
#include "encode/quantized.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;

LatentsShape latents_shape(std::size_t decoder_section, std::size_t chunk_length, std::size_t padding,
                           const py::array& latents) {
    require(latents.ndim() == 2, "latents must have shape [chunks, latent]");
    return {decoder_section, chunk_length, static_cast<std::size_t>(latents.shape(0)),
            static_cast<std::size_t>(latents.shape(1)), padding};
}

// (name, "raw" | "latent" | "quantized" | "lossless", shape, dtype, section, digest) or (name, "alias", target).
Tensor tensor_of(const py::tuple& tuple) {
    Tensor tensor{};
    tensor.name = text_of(tuple[0], "tensor name");
    const auto codec = tuple[1].cast<std::string>();
    if (codec == "alias") {
        tensor.codec = Codec::alias;
        tensor.section = tuple[2].cast<std::size_t>();
        return tensor;
    }
    tensor.codec = codec_of(codec);
    const auto shape = tuple[2].cast<std::vector<std::size_t>>();
    tensor.shape = {shape.begin(), shape.end()};
    tensor.dtype = dtype_of(tuple[3].cast<py::dtype>());
    tensor.section = tuple[4].cast<std::size_t>();
    tensor.digest = tuple[5].cast<std::uint64_t>();
    return tensor;
}

// An axis that may be None: none.
template <typename Value>
Vector<std::int16_t> axis_of(const py::handle& object) {
    if (object.is_none()) return {};
    const auto array = object.cast<Contiguous<Value>>();
    require(array.ndim() == 1, "exponents and levels must be vectors");
    return {array.data(), array.data() + array.size()};
}

std::optional<Codebook> codebook_of(const py::handle& object) {
    if (object.is_none()) return std::nullopt;
    const auto [first, values] = object.cast<std::pair<std::int32_t, Contiguous<float>>>();
    return Codebook{first, vector_of(values)};
}

// (symbols, step, level, row_exponents, row_levels, column_exponents, column_levels, codebook), the last five or None.
QuantizedMatrix matrix_of(const py::tuple& tuple, const py::array& symbols) {
    QuantizedMatrix matrix;
    matrix.shape = matrix_shape_of(symbols);
    matrix.step = tuple[1].cast<float>();
    matrix.level = tuple[2].cast<std::size_t>();
    matrix.axes = {axis_of<std::int8_t>(tuple[3]), axis_of<std::uint8_t>(tuple[4]), axis_of<std::int8_t>(tuple[5]),
                   axis_of<std::uint8_t>(tuple[6])};
    matrix.codebook = codebook_of(tuple[7]);
    return matrix;
}

py::bytes encode_quantized_section(std::size_t base, const std::vector<py::tuple>& tensors, std::size_t tables) {
    require(tables >= 1 && tables <= max_tables, "there must be 1 to 256 tables");
    Vector<QuantizedMatrix> matrices;
    Vector<Symbols> symbols;
    for (const py::tuple& tensor : tensors) {
        require(tensor.size() == 8, "a quantized tensor is a tuple of 8");
        const auto array = tensor[0].cast<py::array>();
        matrices.push_back(matrix_of(tensor, array));
        symbols.push_back(symbols_of(array));
    }
    Vector<std::uint8_t> section;
    {
        const py::gil_scoped_release release;
        section = encode_quantized(base == 0 ? std::nullopt : std::optional(base - 1), matrices, symbols, tables);
    }
    return bytes_of(section);
}

// (values, predicted, level, row_levels, column_levels), the last two or None; both arrays have one shape and dtype.
DifferenceSource difference_source_of(const py::tuple& tuple) {
    require(tuple.size() == 5, "a tensor of differences is a tuple of 5");
    const auto values = tuple[0].cast<py::array>(), predicted = tuple[1].cast<py::array>();
    const DType dtype = dtype_of(values.dtype());
    for (const py::array& array : {values, predicted}) {
        require((array.flags() & py::array::c_style) && is_native(array.dtype()),
                "arrays must be C-contiguous and in the host's byte order");
        require(dtype_of(array.dtype()) == dtype && shape_of(array) == shape_of(values),
                "a prediction must have its tensor's shape and dtype");
    }
    DifferenceMatrix matrix;
    matrix.shape = {matrix_shape(shape_of(values)), dtype};
    matrix.level = tuple[2].cast<std::int32_t>();
    matrix.rows = axis_of<std::uint8_t>(tuple[3]);
    matrix.columns = axis_of<std::uint8_t>(tuple[4]);
    return {std::move(matrix), static_cast<const std::uint8_t*>(values.data()),
            static_cast<const std::uint8_t*>(predicted.data())};
}

py::bytes encode_differences_section(std::size_t base, unsigned detail, const std::vector<py::tuple>& tensors,
                                     std::size_t tables) {
    require(tables >= 1 && tables <= max_tables, "there must be 1 to 256 tables");
    Vector<DifferenceSource> sources;
    for (const py::tuple& tensor : tensors) sources.push_back(difference_source_of(tensor));
    Vector<std::uint8_t> section;
    {
        const py::gil_scoped_release release;
        section = encode_differences(base == 0 ? std::nullopt : std::optional(base - 1), detail, sources, tables);
    }
    return bytes_of(section);
}

py::bytes encode_lossless_section(const std::vector<py::array>& arrays, std::size_t threads) {
    Vector<PlanesSource> tensors;
    for (const py::array& array : arrays) {
        const DType dtype = dtype_of(array.dtype());
        require((array.flags() & py::array::c_style) && is_native(array.dtype()),
                "arrays must be C-contiguous and in the host's byte order");
        tensors.push_back({{static_cast<std::size_t>(array.size()), dtype, matrix_shape(shape_of(array)).rows},
                           static_cast<const std::uint8_t*>(array.data())});
    }
    return bytes_written([&](Place place) { encode_lossless(tensors, threads, place); });
}

Vector<Tensor> table_of(const std::vector<py::tuple>& tensors) {
    Vector<Tensor> table;
    for (const py::tuple& tensor : tensors) table.push_back(tensor_of(tensor));
    return table;
}

py::bytes write(const MetadataList& metadata, const SectionList& sections, const std::vector<py::tuple>& tensors) {
    return bytes_of(write_archive(strings_of(metadata), Sections(sections).parts, table_of(tensors)));
}

// (header and index, where each section begins, the file's size) of a file with sections (kind, size, CRC).
py::tuple write_front_of(const MetadataList& metadata,
                         const std::vector<std::tuple<std::string, std::uint64_t, std::uint32_t>>& sections,
                         const std::vector<py::tuple>& tensors) {
    Vector<SectionEntry> entries;
    for (const auto& [kind, size, crc] : sections) entries.push_back({kind_of(kind), size, crc});
    const Front front = write_front(strings_of(metadata), entries, table_of(tensors));
    return py::make_tuple(bytes_of(front.bytes), std::vector<std::uint64_t>(front.begins.begin(), front.begins.end()),
                          front.file_bytes);
}

}  // namespace

void register_writer(py::module_& module) {
    module.def(
        "encode_integer_decoder",
        [](const std::vector<py::tuple>& layers, const std::vector<std::vector<std::size_t>>& segments) {
            const Vector<std::span<const std::size_t>> spans(segments.begin(), segments.end());
            return bytes_of(encode_integer_decoder(integer_layers(layers), spans));
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
    module.def("encode_quantized", &encode_quantized_section, "base"_a, "tensors"_a, "tables"_a = max_tables);
    module.def("encode_differences", &encode_differences_section, "base"_a, "detail"_a, "tensors"_a,
               "tables"_a = max_tables);
    module.def("encode_lossless", &encode_lossless_section, "arrays"_a, "threads"_a = 0);
    module.def("encode_fleet", &encode_fleet_section, "segments"_a, "groups"_a);
    module.def(
        "section_crc",
        [](const std::string& kind, const py::buffer& bytes) {
            const Buffer buffer(bytes);
            return entry_of({kind_of(kind), buffer.bytes()}).crc;
        },
        "kind"_a, "data"_a);
    module.def("write_front", &write_front_of, "metadata"_a, "sections"_a, "tensors"_a);
    module.def("write_archive", &write, "metadata"_a, "sections"_a, "tensors"_a);
}

}  // namespace vaecomp::core::bindings
