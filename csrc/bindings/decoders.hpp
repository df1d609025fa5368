// Decoder layers as tuples of arrays (see vaecomp_native.decoders).
#pragma once

#include "bindings/numpy.hpp"
#include "kernels/decoder/decoder.hpp"

namespace vaecomp::core::bindings {

// (weight, bias, multiplier, shift) for hidden layers, (weight, bias, scale) for the last.
inline Vector<IntegerLayer> integer_layers(const std::vector<py::tuple>& tuples) {
    Vector<IntegerLayer> layers;
    for (const py::tuple& tuple : tuples) {
        require(tuple.size() == 3 || tuple.size() == 4, "an integer layer is a tuple of 3 or 4 arrays");
        const auto weight = tuple[0].cast<Contiguous<std::int8_t>>();
        require(weight.ndim() == 2, "a layer's weight must have shape [out, in]");
        IntegerLayer layer;
        layer.out = static_cast<std::size_t>(weight.shape(0));
        layer.in = static_cast<std::size_t>(weight.shape(1));
        layer.weight = vector_of(weight);
        layer.bias = vector_of(tuple[1].cast<Contiguous<std::int32_t>>());
        if (tuple.size() == 4) {
            layer.multiplier = vector_of(tuple[2].cast<Contiguous<std::int32_t>>());
            layer.shift = vector_of(tuple[3].cast<Contiguous<std::uint8_t>>());
        } else {
            layer.scale = vector_of(tuple[2].cast<Contiguous<float>>());
        }
        layers.push_back(std::move(layer));
    }
    return layers;
}

// The inverse.
inline py::list tuples_of(const Vector<IntegerLayer>& layers) {
    py::list tuples;
    for (const IntegerLayer& layer : layers) {
        const auto weight = array_of(layer.weight, {layer.out, layer.in});
        const auto bias = array_of(layer.bias, {layer.out});
        if (layer.scale.empty()) {
            tuples.append(py::make_tuple(weight, bias, array_of(layer.multiplier, {layer.out}),
                                         array_of(layer.shift, {layer.out})));
        } else {
            tuples.append(py::make_tuple(weight, bias, array_of(layer.scale, {layer.out})));
        }
    }
    return tuples;
}

// (weight, bias) for every layer.
inline Vector<Float32Layer> float32_layers(const std::vector<py::tuple>& tuples) {
    Vector<Float32Layer> layers;
    for (const py::tuple& tuple : tuples) {
        require(tuple.size() == 2, "a float32 layer is a tuple of 2 arrays");
        const auto weight = tuple[0].cast<Contiguous<float>>();
        require(weight.ndim() == 2, "a layer's weight must have shape [out, in]");
        layers.push_back({static_cast<std::size_t>(weight.shape(1)), static_cast<std::size_t>(weight.shape(0)),
                          vector_of(weight), vector_of(tuple[1].cast<Contiguous<float>>())});
    }
    return layers;
}

}  // namespace vaecomp::core::bindings
