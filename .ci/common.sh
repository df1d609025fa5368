# What the scripts beside this file share. A run is all that the script called first does, with the scripts it calls:
# it has one wheel, one environment and one record of how long each step takes.
# shellcheck shell=bash

export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache

step() {
    printf '%s\t%s\n' "$(date +%s)" "$*" >>"$VAECOMP_RUN/steps"
    printf '\n== %s\n' "$*"
}

finish_run() {
    printf '\n== Seconds\n'
    awk -F'\t' -v now="$(date +%s)" '
        NR == 1 { start = $1 }
        NR > 1 { printf "%5d  %s\n", $1 - began, name }
        { began = $1; name = $2 }
        END { printf "%5d  %s\n%5d  in all\n", now - began, name, now - start }' "$VAECOMP_RUN/steps"
    rm -rf "$VAECOMP_RUN"
}

if [ -z "${VAECOMP_RUN:-}" ]; then
    VAECOMP_RUN=$(mktemp -d)
    export VAECOMP_RUN
    trap finish_run EXIT
fi

# A directory that is removed at the end of the run.
work_directory() { mktemp -d -p "$VAECOMP_RUN"; }

# Installs what every script needs, and more PACKAGES.
install_packages() {
    local packages=(build-essential ccache cmake ninja-build python3-venv "$@")
    if ! dpkg --status "${packages[@]}" >/dev/null 2>&1; then
        local sudo
        sudo=$([ "$(id -u)" = 0 ] || echo sudo)
        $sudo apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${packages[@]}" >/dev/null
    fi
}

# Makes an ENVIRONMENT of a PYTHON, with a pip that knows dependency groups.
make_environment() {
    local environment=$1 python=$2
    "$python" -m venv "$environment"
    "$environment/bin/pip" install --quiet --upgrade "pip>=25.1"
}

# Builds the wheel for the Python of an ENVIRONMENT, once in a run, and prints its path. What does not depend on Python
# is compiled once.
build_wheel() {
    local pip=$1/bin/pip directory
    directory=$VAECOMP_RUN/wheels/$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_python_version())')
    if [ ! -d "$directory" ]; then
        SKBUILD_BUILD_DIR=build/wheel SKBUILD_CMAKE_DEFINE=VAECOMP_WARNINGS_AS_ERRORS=ON \
            "$pip" wheel --quiet --no-deps --wheel-dir "$directory" . >&2
    fi
    echo "$directory"/*.whl
}

# Enters the environment of the run, which has the wheel of the run and what its tests and checks need.
enter_environment() {
    local environment=$VAECOMP_RUN/environment command="pip install . --group test" wheel
    if [ ! -d "$environment" ]; then
        step "Wheel"
        make_environment "$environment" python3
        wheel=$(build_wheel "$environment")
        step "Environment: the README's command, with the wheel"
        grep --quiet --fixed-strings --line-regexp "$command && pytest" README.md
        PATH=$environment/bin:$PATH bash -c "${command/ . / $wheel --quiet --group lint }"
    fi
    # shellcheck disable=SC1091
    source "$environment/bin/activate"
}

# Compiles the program that goldens.py runs: PROGRAM BUILD-DIRECTORY COMPILER [OPTION...]
build_decode_file() {
    local program=$1 build=$2
    shift 2
    "$@" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Icsrc/include csrc/tests/decode_file.cpp \
        "$build/libvaecomp.a" -pthread -o "$program"
}
