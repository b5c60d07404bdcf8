#!/bin/sh
# The packages, quickly: built in a clean root, looked at by lintian, the one of this machine installed in a Debian root and started,
# the one of a board run by emulation: tests/boards/deb.sh [--built]   (--built: takes what lies in target/deb)
# Needs root. boot.sh, life.sh and binaries.sh do the rest.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
. tests/boards/vm.sh

arch=$(dpkg --print-architecture)
[ "$(id -u)" = 0 ] || {
    echo "$0 makes Debian roots: start it as root." >&2
    exit 1
}
[ "${1:-}" = --built ] || cross/build.sh arm64 "$arch"
need mmdebstrap arch-test qemu-user-static lintian curl
own=$(newest_deb)
boards_deb=$(arch=arm64 newest_deb)
work=$boards/deb.$$
logs=$boards/deb.logs
mkdir -p "$work" "$logs"
machine=
ours=
trap finish EXIT
trap 'exit 130' INT TERM HUP

clean() { lintian --allow-root --fail-on error,warning "$own" "$boards_deb"; }
check "lintian has nothing to say" clean

# The package with what it depends on, and nothing booted.
root=$work/root
make_root() {
    rm -rf --one-file-system "$root"
    mmdebstrap --quiet --variant=minbase --include="$(realpath "$own")" \
        --hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount bookworm "$root" >"$logs/mmdebstrap.txt" 2>&1
}
patiently make_root || {
    tail -n 20 "$logs/mmdebstrap.txt"
    give_up "the package is installed in a root by apt"
}
check "the package is installed in a root by apt" chroot "$root" dpkg-query -W photo-factory
rights() { chroot "$root" stat -c '%A %U:%G' /var/lib/photo-factory/Photos_Inbox | grep -x 'drwxrws--- photo-factory:photo-factory'; }
check "its inbox is open to its group" rights

in_root() { unshare --mount --pid --fork sh -euc 'mount -t proc proc "$1/proc"; root=$1; shift; exec chroot "$root" runuser -u photo-factory -- "$@"' in "$root" "$@"; }
port=$(free_port)
in_root photo-factory --root /var/lib/photo-factory --config /etc/photo-factory/photo-factory.toml run --listen "127.0.0.1:$port" \
    >"$logs/run.txt" 2>&1 &
ours=$!
answers() { [ "$(curl -s "http://127.0.0.1:$port/healthz")" = ok ]; }
check "it starts, and its page answers" await 60 answers
asks() { in_root photo-factory --root /var/lib/photo-factory status --check; }
check "the page is asked by its own command" asks

# A board's program, on this machine's kernel.
board=$work/board
make_board() {
    rm -rf --one-file-system "$board"
    mmdebstrap --quiet --variant=extract --arch=arm64 --include=libgexiv2-2,libc-bin,tzdata bookworm "$board" >"$logs/board.txt" 2>&1
}
patiently make_board || {
    tail -n 20 "$logs/board.txt"
    give_up "what the program for arm64 depends on is fetched by apt"
}
dpkg-deb -x "$boards_deb" "$board"
run_foreign arm64
on_board() { chroot "$board" /usr/bin/photo-factory "$@"; }
version() { on_board --version; }
check "the program for arm64 says its version" version
mkdir -p "$board/factory/Photos_Inbox"
built=${CARGO_TARGET_DIR:-target}/debug/examples/sample-pictures
find_cargo
[ -x "$built" ] || cargo build --quiet --locked --example sample-pictures
"$built" "$board/factory/Photos_Inbox" >/dev/null
ingests() {
    on_board --root /factory ingest || [ $? = 2 ]
    [ "$(on_board --root /factory export | grep -c 'EXIF DateTimeOriginal')" -ge 5 ] || {
        on_board --root /factory export
        return 1
    }
    on_board --root /factory verify
}
check "it files a dozen pictures, its worker reads their dates, and all are verified" ingests

size() {
    for deb in "$own" "$boards_deb"; do
        printf '        %s: %s bytes, %s KiB installed, program %s bytes\n' "$(basename "$deb")" "$(stat -c %s "$deb")" \
            "$(dpkg-deb -f "$deb" Installed-Size)" "$(dpkg-deb --fsys-tarfile "$deb" | tar -tv ./usr/bin/photo-factory | awk '{ print $3 }')"
    done
}
size
