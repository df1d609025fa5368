#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace {

void require(bool condition, const std::string& problem) {
    if (!condition) throw std::runtime_error(problem + "; compress the fully connected network of the README");
}

// Makes room for a tensor's values, and an entry of `outputs` that asks for them.
std::vector<float> room_for(const vaecomp::Archive& archive, std::size_t tensor, std::vector<vaecomp_output>& outputs) {
    const vaecomp::TensorInfo info = archive.info(tensor);
    require(info.dtype == VAECOMP_FLOAT32, "tensor '" + std::string(info.name) + "' is not float32");
    std::vector<float> values(info.elements);
    outputs.push_back({tensor, 0, info.elements, values.data(), info.bytes});
    return values;
}

}  // namespace

Network::Network(const vaecomp::Archive& archive) {
    std::vector<vaecomp_output> outputs;
    std::size_t inputs = kPixels;
    for (std::size_t i = 0; 2 * i < archive.size(); ++i) {
        const std::string name = "layers." + std::to_string(i);
        const std::size_t weight = archive.find(name + ".weight"), bias = archive.find(name + ".bias");
        const vaecomp::TensorInfo shape = archive.info(weight);
        require(shape.rank == 2 && shape.shape[1] == inputs && archive.info(bias).elements == shape.rows(),
                "the shapes of '" + name + "' do not fit");
        layers_.push_back({inputs, shape.rows(), room_for(archive, weight, outputs), room_for(archive, bias, outputs)});
        inputs = shape.rows();
    }
    require(!layers_.empty() && inputs == kDigits, "the network does not end with 10 digits");
    archive.decode(outputs);
}

Scores Network::predict(std::vector<float> values) const {
    for (const Layer& layer : layers_) {
        values = layer.forward(values);
        if (&layer == &layers_.back()) break;
        for (float& value : values) value = std::max(value, 0.0F);
    }
    Scores scores{};
    const float highest = *std::max_element(values.begin(), values.end());
    std::transform(values.begin(), values.end(), scores.begin(), [&](float x) { return std::exp(x - highest); });
    const float sum = std::accumulate(scores.begin(), scores.end(), 0.0F);
    for (float& score : scores) score /= sum;
    return scores;
}

std::vector<float> Network::Layer::forward(const std::vector<float>& values) const {
    std::vector<float> sums = bias;
    for (std::size_t i = 0; i < outputs; ++i) {
        for (std::size_t j = 0; j < inputs; ++j) sums[i] += weight[i * inputs + j] * values[j];
    }
    return sums;
}
