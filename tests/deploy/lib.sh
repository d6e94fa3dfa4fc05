# shellcheck shell=bash
# What the deployment tests share: where things are, what is installed, what is ended. Sourced, never run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
# What is dear to make and good for the next run: the base system, tools from PyPI.
kept=$target/deploy
# shellcheck disable=SC2034 # for the tests
binary=$target/release/kv-cache
scratch=$(mktemp -d)
mkdir -p "$kept"
cd "$root"

# What was started is ended in the opposite order, and only that.
endings=()
at_end() { endings=("$*" "${endings[@]}"); }
end() {
    local ending
    for ending in "${endings[@]}"; do eval "$ending" >/dev/null 2>&1 || true; done
    rm -rf "$scratch"
}
trap end EXIT

skip() {
    echo "SKIPPED ${0##*/}: $*"
    exit 0
}

fail() {
    echo "FAILED ${0##*/}: $*" >&2
    exit 1
}

needs_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }

# Installs Debian packages that are missing, without starting their services.
packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || skip "needs ${missing[*]}, and this host has no apt-get"
    apt-get update -q >/dev/null
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" >"$scratch/apt" 2>&1 ||
        { tail -5 "$scratch/apt"; skip "cannot install ${missing[*]}"; }
}

# A Python environment with packages from PyPI; says where its programs are.
from_pypi() {
    local venv=$kept/venv
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install -q "$@" >&2
    echo "$venv/bin"
}

# Waits for a condition; it has a minute.
until_true() {
    local what=$1 round
    shift
    for round in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    fail "waited in vain for $what ($round rounds)"
}

# The files of a Debian package that is only looked into; says where they are.
unpacked() {
    local folder=$kept/$1
    if [ ! -e "$folder" ]; then
        (cd "$scratch" && apt-get update -q && apt-get download -q "$1" && dpkg-deb --extract "$1"_*.deb "$folder") >&2
    fi
    echo "$folder"
}

# The file has a line that matches.
has() { grep -qE -- "$1" "$2" || { cat "$2"; fail "no line matches $1"; }; }
has_not() { if grep -nE -- "$1" "$2"; then fail "a line matches $1"; fi; }

# The released server and load generator.
build_release() { cargo build --release --quiet --workspace --bins; }

# A minimal Debian, made once: debootstrap takes a while.
base_system() {
    packages debootstrap
    local base=$kept/debian
    if [ ! -e "$base/made" ]; then
        rm -rf "$base"
        debootstrap --variant=minbase \
            --include=systemd,systemd-sysv,dbus,gcc,libc6-dev,make,binutils,procps bookworm "$base" >"$scratch/debootstrap" 2>&1 ||
            { tail -3 "$scratch/debootstrap"; skip "cannot make a minimal Debian"; }
        touch "$base/made"
    fi
    echo "$base"
}

# A network namespace of our own: nothing here touches the host's network or its settings.
network_namespace() {
    unshare --net true 2>/dev/null || skip "network namespaces cannot be made here"
    packages iproute2
    ip netns add "$1"
    at_end "ip netns delete $1"
    ip -n "$1" link set lo up
}
# Runs something there. Not by `ip netns exec`, which mounts a /sys of its own, without cgroups.
within() {
    local name=$1
    shift
    nsenter --net="/run/netns/$name" -- "$@"
}
# The same in the background, ended at the end; `started` is the process itself.
start_within() {
    local name=$1
    shift
    nsenter --net="/run/netns/$name" -- "$@" &
    started=$!
    at_end "kill $started; wait $started"
}
