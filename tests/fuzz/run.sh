#!/bin/sh
# Runs every fuzz target for so many seconds (default 10), or one of them: run.sh [SECONDS [TARGET]]. What a target has found
# is kept in corpus/ and used the next time; an input that fails is kept in artifacts/.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
seconds=${1:-10}
only=${2:-}

find_cargo
need gcc g++ libc6-dev pkg-config libgexiv2-dev
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export PATH
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz@0.13.2

cargo run --quiet --locked --example fuzz-seeds -- tests/fuzz/seeds

# The versions that the product is built with.
cp Cargo.lock tests/fuzz/Cargo.lock
# The sanitizer needs what stable Rust has, but does not promise. Only here: other builds would begin anew.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --fuzz-dir tests/fuzz
for target in $(cargo fuzz list --fuzz-dir tests/fuzz); do
    [ -z "$only" ] || [ "$only" = "$target" ] || continue
    printf '\n== %s\n' "$target"
    mkdir -p "tests/fuzz/corpus/$target"
    # Inputs of 64 KiB at most: none may take 10 seconds, or a block of more than 64 MiB.
    if cargo fuzz run --fuzz-dir tests/fuzz "$target" \
        "tests/fuzz/corpus/$target" "tests/fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 -malloc_limit_mb=64 -rss_limit_mb=1024 \
        -print_final_stats=1 >"tests/fuzz/corpus/$target.log" 2>&1; then
        grep -E '^(Done|stat::(number_of_executed|average_exec|peak_rss|new_units))' "tests/fuzz/corpus/$target.log"
    else
        tail -n 60 "tests/fuzz/corpus/$target.log"
        exit 1
    fi
done
