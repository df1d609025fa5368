# What the scripts beside this file share.

step() { printf '\n== %s\n' "$*"; }

install_packages() {
    if ! dpkg --status "$@" >/dev/null 2>&1; then
        local sudo
        sudo=$([ "$(id -u)" = 0 ] || echo sudo)
        $sudo apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "$@" >/dev/null
    fi
}

# Compiles the program that goldens.py runs: PROGRAM BUILD-DIRECTORY COMPILER [OPTION...]
build_decode_file() {
    local program=$1 build=$2
    shift 2
    "$@" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Icsrc/include csrc/tests/decode_file.cpp \
        "$build/libvaecomp.a" -pthread -o "$program"
}
