#!/bin/sh
# Builds Photo Factory and shows it at work: an appliance in playground/, with sample pictures made on the spot.
# Arguments go to `photo-factory run`, for example: packaging/try.sh --listen 127.0.0.1:9000
set -eu
cd "$(dirname "$0")/.."
. packaging/needs.sh

find_cargo
need gcc libc6-dev pkg-config libgexiv2-dev

cargo build --release --locked --bins --example sample-pictures
built="${CARGO_TARGET_DIR:-target}/release"

if [ ! -e playground/Data ]; then
    mkdir -p playground/Photos_Inbox
    "$built/examples/sample-pictures" playground/Photos_Inbox
    # 2: finished, and some files have problems. One of the samples is a shopping list, another is broken.
    "$built/photo-factory" --root playground ingest || [ $? = 2 ]
fi

echo "More pictures? Copy them to $PWD/playground/Photos_Inbox. Ctrl-C stops."
exec "$built/photo-factory" --root playground run "$@"
