// An HTTP service that recognizes digits with a network from an archive: see README.md. The archive is decoded when the
// service starts.
#include <httplib.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>

#include "image.hpp"
#include "network.hpp"

namespace {

using nlohmann::json;

constexpr char kHost[] = "127.0.0.1";  // a proxy in front of the service faces the network
constexpr std::size_t kLargestBody = 1 << 16;

void answer(httplib::Response& response, const json& body) { response.set_content(body.dump(), "application/json"); }

void add_routes(httplib::Server& server, const Network& network) {
    server.Get("/health", [&](const httplib::Request&, httplib::Response& response) {
        answer(response, {{"status", "ok"}, {"layers", network.layers()}, {"library", vaecomp_version()}});
    });
    server.Post("/predict", [&](const httplib::Request& request, httplib::Response& response) {
        try {
            const Scores scores = network.predict(read_image(request.body, request.get_header_value("Content-Type")));
            const auto digit = std::max_element(scores.begin(), scores.end()) - scores.begin();
            answer(response, {{"digit", digit}, {"scores", scores}});
        } catch (const BadRequest& error) {
            response.status = 400;
            answer(response, {{"error", error.message}});
        }
    });
    // Requests that reached no handler have no body yet.
    server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
        if (response.body.empty()) answer(response, {{"error", "send GET /health or POST /predict, at most 64 KiB"}});
    });
}

// Takes the port, or any free one if it is 0, and returns it.
int bind(httplib::Server& server, int port) {
    // The default would let two services share a port.
    server.set_socket_options([](socket_t socket) {
        const int yes = 1;
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    const int bound = port == 0 ? server.bind_to_any_port(kHost) : server.bind_to_port(kHost, port) ? port : -1;
    if (bound < 0) throw std::runtime_error("port " + std::to_string(port) + ": " + std::strerror(errno));
    return bound;
}

sigset_t stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    return signals;
}

// Answers until SIGINT or SIGTERM, which all threads must have blocked. Running requests are finished.
void serve(httplib::Server& server) {
    std::atomic<bool> ended{false};
    std::thread stopper([&] {
        const sigset_t signals = stop_signals();
        int received = 0;
        sigwait(&signals, &received);
        // The server would miss a stop that comes before it runs.
        while (!server.is_running() && !ended) std::this_thread::yield();
        server.stop();
    });
    server.listen_after_bind();
    ended = true;
    pthread_kill(stopper.native_handle(), SIGTERM);  // wakes the stopper if the server ended by itself
    stopper.join();
}

int parse_port(const char* text) {
    int port = -1;
    const char* const end = text + std::strlen(text);
    const auto [stopped, problem] = std::from_chars(text, end, port);
    if (problem != std::errc() || stopped != end || port < 0 || port > 65535) {
        throw std::runtime_error("the port '" + std::string(text) + "' is not from 0 to 65535");
    }
    return port;
}

Network load(const char* path) {
    try {
        return Network(vaecomp::Archive(path));
    } catch (const std::exception& error) {
        throw std::runtime_error(std::string(path) + ": " + error.what());
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: http_service ARCHIVE PORT (0: any that is free)\n";
        return 2;
    }
    // This comes before other threads start, because they inherit it.
    const sigset_t signals = stop_signals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    try {
        const Network network = load(argv[1]);
        httplib::Server server;
        server.set_payload_max_length(kLargestBody);
        server.set_keep_alive_timeout(1);  // seconds that a stop may wait for an idle connection
        add_routes(server, network);
        const int port = bind(server, parse_port(argv[2]));
        std::cout << "listening on http://" << kHost << ':' << port << std::endl;
        serve(server);
        std::cout << "stopped" << std::endl;
    } catch (const std::exception& error) {
        std::cerr << "http_service: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
