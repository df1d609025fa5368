// The image in the body of a request.
#pragma once

#include <string>
#include <vector>

// A request that is not as the README says; the message tells the client what to send.
struct BadRequest {
    std::string message;
};

// The pixels of a body, 784 bytes or JSON by its content type, normalized as in training. Throws BadRequest.
std::vector<float> read_image(const std::string& body, const std::string& content_type);
