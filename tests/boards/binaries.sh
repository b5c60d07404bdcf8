#!/bin/sh
# The tests that run the program, run against the one for ARM, by user emulation: tests/boards/binaries.sh arm64|armhf [TEST...]
# The package is installed with apt in a root of that architecture, with all it depends on; what tests start is the program in there,
# with its workers. Needs root.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
. tests/boards/checks.sh

arch=${1:?which architecture? arm64 or armhf}
shift
[ "$(id -u)" = 0 ] || {
    echo "$0 makes a Debian root: start it as root." >&2
    exit 1
}
need mmdebstrap arch-test qemu-user-static
find_cargo
deb=$(newest_deb)
run_foreign
root=$boards/$arch.root
if ! cmp -s "$deb" "$root/package.deb"; then
    rm -rf --one-file-system "$root"
    echo "Installing $deb with apt in a root of $arch"
    # shellcheck disable=SC2016 # the hook's words
    patiently mmdebstrap --quiet --arch="$arch" --variant=minbase --include="$(realpath "$deb")" \
        --hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount \
        --customize-hook='APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install --yes -o DPkg::Chroot-Directory="$1" libfaketime' \
        bookworm "$root" \
        ${PHOTO_FACTORY_SOURCES:+"$PHOTO_FACTORY_SOURCES"}
    cp "$deb" "$root/package.deb"
fi
chroot "$root" photo-factory --version
chroot "$root" dpkg-query -W photo-factory libgexiv2-2

# Emulation sees to the program and its workers, the tests themselves are of this machine. Workers are started with nothing of the
# environment: what they are linked with has to lie where they look for it. It does, for what is started here and for nobody else.
export PHOTO_FACTORY_UNDER_TEST="$root/usr/bin/photo-factory"
# Debian 12's libfaketime does not know how programs of 32 bits ask for times of 64.
PHOTO_FACTORY_FAKETIME=
[ "$arch" = armhf ] || PHOTO_FACTORY_FAKETIME=/$(cd "$root" && ls usr/lib/*/faketime/libfaketimeMT.so.1)
export PHOTO_FACTORY_FAKETIME
# A core is five to ten times slower so: what is sampled is sampled coarsely.
export PHOTO_FACTORY_FAULTS=few PHOTO_FACTORY_WRITER_SECONDS=10 PHOTO_FACTORY_MODEL_SECONDS=60
tests=${*:-appliance access alerts corpus_dates courier gate metadata_worker mutated_input probes syncthing_probe}
# shellcheck disable=SC2016,SC2046,SC2086 # the inner shell's words; one word per test
unshare --mount sh -euc '
    mount -t overlay -o "lowerdir=/usr/lib:$1/usr/lib" overlay /usr/lib
    shift
    exec "$@"' run "$root" cargo test --locked --no-fail-fast $(printf -- '--test %s ' $tests) -- --nocapture
