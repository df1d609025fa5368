// The image in the body of a request.
#pragma once

#include <string>
#include <vector>

// A malformed request; the message tells the client what to send.
struct BadRequest {
    std::string message;
};

// Reads the pixels of a body, which is 784 bytes or JSON by its content type, and normalizes them as in training.
// Throws BadRequest.
std::vector<float> read_image(const std::string& body, const std::string& content_type);
