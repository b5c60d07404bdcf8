# shellcheck shell=sh
# Sourced by the scripts: finds cargo, and asks apt for what is missing. Root is used for apt only, but where a script says so.

find_cargo() {
    if ! command -v cargo >/dev/null && [ -x "${HOME:-/root}/.cargo/bin/cargo" ]; then
        PATH="${HOME:-/root}/.cargo/bin:$PATH"
        export PATH
    fi
    if ! command -v cargo >/dev/null; then
        echo "Rust 1.88 or newer is needed: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
        exit 1
    fi
}

# need PACKAGE...: installs those that are not installed yet.
need() {
    missing=
    for package in "$@"; do
        case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
            *" installed") ;;
            *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    echo "Installing with apt:$missing"
    become_root "$missing"
    # shellcheck disable=SC2086 # one word per package
    $as_root apt-get update -qq </dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null
}

# patiently COMMAND...: what asks an archive, up to three times: now and then one is changed while it is read.
patiently() {
    for pause in 20 60 0; do
        ! "$@" || return 0
        sleep "$pause"
    done
    return 1
}

# become_root WHAT FOR: how to run a command as root.
become_root() {
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
        if ! command -v sudo >/dev/null; then
            echo "Neither root nor sudo: please have these installed, then start again: $1" >&2
            exit 1
        fi
    fi
}

# borrow PROGRAM PACKAGE: lays one program of a package into target/tools, without installing the package: it would start a
# server that nobody asked for.
borrow() {
    tools="${CARGO_TARGET_DIR:-target}/tools"
    [ ! -x "$tools/$1" ] || return 0
    echo "Fetching with apt, not installing: $1 of the package $2"
    mkdir -p "$tools/parts"
    if ! (cd "$tools/parts" && apt-get download -qq "$2" </dev/null); then
        become_root "$2"
        $as_root apt-get update -qq </dev/null
        (cd "$tools/parts" && apt-get download -qq "$2" </dev/null)
    fi
    for part in "$tools/parts/$2"_*.deb; do
        dpkg-deb --fsys-tarfile "$part" | tar -x -C "$tools/parts" "./usr/bin/$1"
    done
    mv "$tools/parts/usr/bin/$1" "$tools/$1"
    rm -r "$tools/parts"
}

# npm_tools FOLDER: installs what FOLDER/package.json names, as its lock file says, into target/tools. Needs no root.
npm_tools() {
    tools="${CARGO_TARGET_DIR:-target}/tools/$(basename "$1")"
    command -v npm >/dev/null || need nodejs npm
    if ! cmp -s "$1/package-lock.json" "$tools/package-lock.json" || [ ! -d "$tools/node_modules" ]; then
        echo "Fetching with npm: what $1/package.json names"
        mkdir -p "$tools"
        cp "$1/package.json" "$1/package-lock.json" "$tools"
        (cd "$tools" && npm ci --silent --no-audit --no-fund --ignore-scripts </dev/null)
    fi
}
