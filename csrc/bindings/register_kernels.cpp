#include <algorithm>

#include "bindings/decoders.hpp"
#include "bindings/register.hpp"
#include "core/cpu.hpp"
#include "core/digest.hpp"
#include "kernels/noise/noise_variants.hpp"

namespace vaecomp::core::bindings {
namespace {

using namespace pybind11::literals;
using FloatArray = Contiguous<float>;

// The caller's array, if it has this shape, or a new one.
FloatArray matrix(const std::optional<FloatArray>& out, std::size_t rows, std::size_t columns) {
    if (!out) return FloatArray({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)});
    require(out->ndim() == 2 && shape_of(*out) == Vector<std::size_t>{rows, columns},
            "out must have shape [" + std::to_string(rows) + ", " + std::to_string(columns) + "]");
    return *out;
}

py::tuple flatten_chunk(const std::vector<py::array>& tensors, std::size_t chunk_length,
                        const std::optional<FloatArray>& out, std::size_t threads) {
    require(chunk_length >= 1, "chunk_length must be at least 1");
    Vector<TensorView> views;
    std::size_t count = 0;
    for (const py::array& tensor : tensors) {
        views.push_back(view_of(tensor));
        count += views.back().count();
    }
    const std::size_t chunks = (count + chunk_length - 1) / chunk_length;
    FloatArray result = matrix(out, chunks, chunk_length);
    float* to = result.mutable_data();
    {
        const py::gil_scoped_release release;
        flatten(views, to, chunks * chunk_length, threads);
    }
    return py::make_tuple(result, chunks * chunk_length - count);
}

std::vector<py::array> unchunk(const FloatArray& chunks,
                               const std::vector<std::pair<std::vector<py::ssize_t>, py::dtype>>& specs,
                               const std::optional<std::vector<py::array>>& out, std::size_t threads) {
    require(!out || out->size() == specs.size(), "out must have one array for each spec");
    std::vector<py::array> arrays;
    Vector<TensorTarget> targets;
    std::size_t count = 0;
    for (const auto& [shape, dtype] : specs) {
        const DType code = dtype_of(dtype);
        require(is_real_float(code), "unchunk makes real float dtypes only");
        py::array array = out ? (*out)[arrays.size()] : py::array(numpy_dtype(code), shape);
        require(std::ranges::equal(shape_of(array), shape), "an array of out has another shape than its spec");
        const auto elements = static_cast<std::size_t>(array.size());
        targets.push_back({writable(array, code, elements), elements, code});
        count += targets.back().count;
        arrays.push_back(std::move(array));
    }
    require(count <= static_cast<std::size_t>(chunks.size()), "the chunks hold fewer elements than the shapes ask for");
    const std::span<const float> flat = span_of(chunks);
    const py::gil_scoped_release release;
    unflatten(flat.first(count), std::move(targets), threads);
    return arrays;
}

FloatArray noise(const FloatArray& base, std::size_t count, double probability, double sigma, std::uint64_t seed,
                 std::uint64_t first_variant, std::uint64_t first_index, const std::optional<FloatArray>& out,
                 std::size_t threads) {
    require(base.ndim() == 1, "base must be one-dimensional");
    FloatArray result = matrix(out, count, static_cast<std::size_t>(base.size()));
    float* to = result.mutable_data();
    const std::span<const float> from = span_of(base);
    const py::gil_scoped_release release;
    noise_variants(from, {count, probability, sigma, seed, first_variant, first_index}, to, threads);
    return result;
}

template <typename Decoder>
FloatArray run_decoder(const Decoder& decoder, const Contiguous<typename Decoder::Latent>& latents,
                       const std::optional<FloatArray>& out, std::size_t threads) {
    require(latents.ndim() == 2 && static_cast<std::size_t>(latents.shape(1)) == decoder.latent(),
            "latents must have shape [chunks, " + std::to_string(decoder.latent()) + "]");
    const auto rows = static_cast<std::size_t>(latents.shape(0));
    FloatArray values = matrix(out, rows, decoder.chunk_length());
    float* to = values.mutable_data();
    const auto* from = latents.data();
    const py::gil_scoped_release release;
    forward(decoder, from, rows, to, threads);
    return values;
}

std::vector<std::uint64_t> digests(const std::vector<py::array>& arrays, std::size_t threads) {
    std::vector<DigestSource> sources;
    for (const py::array& array : arrays) {
        require(array.flags() & py::array::c_style && is_native(array.dtype()),
                "the digest is taken of C-contiguous arrays in native byte order");
        sources.push_back({array.data(), static_cast<std::size_t>(array.size()), dtype_of(array.dtype())});
    }
    const py::gil_scoped_release release;
    const Vector<std::uint64_t> found = TensorDigests(sources).finish(threads);
    return {found.begin(), found.end()};
}

}  // namespace

void register_kernels(py::module_& module) {
    module.def("available_isas", [] {
        std::vector<std::string> names;
        for (const Isa isa : available_isas()) names.emplace_back(name(isa));
        return names;
    });
    module.def("isa", [] { return std::string(name(active_isa())); });
    module.def(
        "set_isa", [](const std::string& name) { set_isa(name); }, "name"_a);

    module.def("flatten_chunk", &flatten_chunk, "tensors"_a, "chunk_length"_a, py::arg("out").noconvert() = py::none(),
               "threads"_a = 0);
    module.def("unchunk", &unchunk, "chunks"_a, "specs"_a, "out"_a = py::none(), "threads"_a = 0);
    module.def("noise_variants", &noise, "base"_a, "count"_a, "probability"_a, "sigma"_a, "seed"_a,
               "first_variant"_a = 0, "first_index"_a = 0, py::arg("out").noconvert() = py::none(), "threads"_a = 0);

    py::class_<IntegerDecoder>(module, "IntegerDecoder")
        .def(py::init([](const std::vector<py::tuple>& layers) { return IntegerDecoder(integer_layers(layers)); }),
             "layers"_a)
        .def("forward", &run_decoder<IntegerDecoder>, "latents"_a, py::arg("out").noconvert() = py::none(),
             "threads"_a = 0);
    py::class_<Float32Decoder>(module, "Float32Decoder")
        .def(py::init([](const std::vector<py::tuple>& layers) { return Float32Decoder(float32_layers(layers)); }),
             "layers"_a)
        .def("forward", &run_decoder<Float32Decoder>, "latents"_a, py::arg("out").noconvert() = py::none(),
             "threads"_a = 0);

    module.def(
        "crc32c",
        [](const py::buffer& data) {
            const Buffer buffer(data);
            return kernels().crc32c(buffer.bytes().data(), buffer.bytes().size());
        },
        "data"_a);
    module.def("digests", &digests, "arrays"_a, "threads"_a = 0);
}

}  // namespace vaecomp::core::bindings
