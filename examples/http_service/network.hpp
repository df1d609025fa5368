// A fully connected network with ReLU whose weights come from an archive.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vaecomp.hpp>
#include <vector>

constexpr std::size_t kPixels = 28 * 28, kDigits = 10;

using Scores = std::array<float, kDigits>;

class Network {
  public:
    // Decodes "layers.0.weight", "layers.0.bias", "layers.1.weight" and so on, all at once. Throws vaecomp::Error for
    // a damaged archive, and std::runtime_error for an archive of another network.
    explicit Network(const vaecomp::Archive& archive);

    std::size_t layers() const { return layers_.size(); }

    // Computes the probabilities of the digits from pixels that are normalized as in training.
    Scores predict(std::vector<float> values) const;

  private:
    struct Layer {
        std::size_t inputs, outputs;
        std::vector<float> weight, bias;  // the weights of output 0 come first

        std::vector<float> forward(const std::vector<float>& values) const;
    };

    std::vector<Layer> layers_;
};
