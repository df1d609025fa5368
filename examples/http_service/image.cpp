#include "image.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "network.hpp"

namespace {

// Mean and standard deviation of the pixels, from 0 to 1, of MNIST's training images.
constexpr float kMean = 0.1307F, kDeviation = 0.3081F;

float normalized(float pixel) { return (pixel / 255.0F - kMean) / kDeviation; }

std::vector<float> from_bytes(const std::string& body) {
    if (body.size() != kPixels) throw BadRequest{"send 784 bytes, one per pixel, or JSON with its content type"};
    std::vector<float> image(kPixels);
    std::transform(body.begin(), body.end(), image.begin(),
                   [](char pixel) { return normalized(static_cast<unsigned char>(pixel)); });
    return image;
}

bool is_pixel(const nlohmann::json& value) { return value.is_number() && value >= 0 && value <= 255; }

std::vector<float> from_json(const std::string& body) {
    const nlohmann::json document = nlohmann::json::parse(body, nullptr, false);
    const nlohmann::json pixels = document.is_object() ? document.value("pixels", nlohmann::json()) : nlohmann::json();
    if (!pixels.is_array() || pixels.size() != kPixels || !std::all_of(pixels.begin(), pixels.end(), is_pixel)) {
        throw BadRequest{"send {\"pixels\": [...]} with 784 numbers from 0 to 255"};
    }
    std::vector<float> image(kPixels);
    std::transform(pixels.begin(), pixels.end(), image.begin(),
                   [](const nlohmann::json& pixel) { return normalized(pixel.get<float>()); });
    return image;
}

}  // namespace

std::vector<float> read_image(const std::string& body, const std::string& content_type) {
    return content_type.rfind("application/json", 0) == 0 ? from_json(body) : from_bytes(body);
}
