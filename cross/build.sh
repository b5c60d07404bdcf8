#!/bin/sh
# Builds the packages: cross/build.sh [--here | --docker] [--again] [ARCH...]   (amd64, arm64, armhf; without any: all three)
#
#   (no flag)  in a clean Debian root made with mmdebstrap, kept in target/cross: nothing of this machine goes into the package,
#              and nothing on it is changed. Needs no root, where users may have namespaces of their own.
#   --here     with the tools of this machine, Debian 12 or 13; apt installs what is missing, and learns of the other architectures.
#   --docker   the programs with the usual `cross` and Docker, the packages around them with the tools of this machine.
#   --again    builds everything a second time, and fails where the two are not the same to the byte.
#
# PHOTO_FACTORY_SOURCES names a sources.list of yours, where the root is to be made from another mirror.
# The packages come to target/deb. Tools and versions: cross/versions.
set -eu
cd "$(dirname "$0")/.."
. packaging/needs.sh
. cross/versions

mode=root
again=
architectures=
for word in "$@"; do
    case "$word" in
        --here) mode=here ;;
        --docker) mode=docker ;;
        --again) again=yes ;;
        amd64 | arm64 | armhf) architectures="$architectures $word" ;;
        *)
            echo "cross/build.sh does not know \"$word\": it builds amd64, arm64 and armhf" >&2
            exit 1
            ;;
    esac
done
architectures=$(printf '%s\n' ${architectures:-amd64 arm64 armhf} | sort -u | tr '\n' ' ')
native=$(dpkg --print-architecture)
version=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version 2>/dev/null ||
    sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
program=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
[ "${version%%[-~+]*}" = "$program" ] || {
    echo "packaging/debian/changelog says $version, Cargo.toml says $program: they must agree" >&2
    exit 1
}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/cross
mkdir -p "$work" "$target/deb"

# gnu ARCH, rust ARCH: what compilers call it.
gnu() {
    case "$1" in
        amd64) echo x86_64-linux-gnu ;;
        arm64) echo aarch64-linux-gnu ;;
        armhf) echo arm-linux-gnueabihf ;;
    esac
}
rust() {
    case "$1" in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        armhf) echo armv7-unknown-linux-gnueabihf ;;
    esac
}

# tools: the packages that building takes, without Rust.
tools() {
    echo build-essential debhelper pkg-config perl
    for arch in $architectures; do
        echo "libgexiv2-dev:$arch libc6-dev:$arch"
        [ "$arch" = "$native" ] || echo "gcc-$(gnu "$arch" | tr _ -)"
    done
}

# sources FOLDER: lays there what git knows of, with the packaging where dpkg looks for it.
sources() {
    mkdir -p "$1"
    git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$1"
    cp -r "$1/packaging/debian" "$1/debian"
    # The files of the maintainer scripts cannot ask which version they are of.
    sed -i "s/@VERSION@/$version/" "$1/debian/photo-factory.preinst"
}

# In a clean root.
make_root() {
    # A list of packages that became another one makes another root.
    root="$work/$SUITE-$RUST-$(echo "$architectures" $(tools) | cksum | cut -d' ' -f1).tar"
    [ ! -e "$root" ] || return 0
    need mmdebstrap uidmap
    include=$(tools | tr ' ' '\n' | grep . | tr '\n' ,)cargo-web,rustc-web,ca-certificates
    all=$native
    for arch in $architectures; do
        include="$include,libstd-rust-web-dev:$arch"
        [ "$arch" = "$native" ] || all="$all,$arch"
    done
    echo "Making a clean Debian $SUITE in $root"
    patiently make_tar || {
        echo "The root can't be made; PHOTO_FACTORY_SOURCES names a sources.list with another mirror" >&2
        exit 1
    }
    mv "$root.new" "$root"
}

make_tar() {
    mmdebstrap --format=tar --aptopt='Acquire::Retries "5"' --variant=minbase --architectures="$all" --include="$include" \
        "$SUITE" "$root.new" ${PHOTO_FACTORY_SOURCES:+"$PHOTO_FACTORY_SOURCES"}
}

# enter ROOT COMMAND...: runs it in there, as root of a namespace of its own.
enter() {
    inside=$1
    shift
    users=
    [ "$(id -u)" = 0 ] || users="--user --map-root-user"
    # shellcheck disable=SC2016,SC2086 # the inner shell's words; one word per flag
    unshare $users --mount --pid --fork sh -euc '
        root=$1; cargo=$2; shift 2
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mkdir -p "$root/build/cargo"
        mount --bind "$cargo" "$root/build/cargo"
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 CARGO_HOME=/build/cargo "$@"
    ' enter "$inside" "$work/cargo" "$@"
}

in_root() {
    make_root
    place=$(mktemp -d --tmpdir="$work")
    trap 'rm -rf --one-file-system "$place"' EXIT
    # As a user without rights, who can own nothing but what is his own, and make no devices.
    tar -x -C "$place" -f "$root" --exclude='./dev/*' --no-same-owner
    cp -L /etc/resolv.conf "$place/etc/resolv.conf"
    # Where the network of this machine has a certificate of its own, cargo must know it.
    [ ! -e /etc/ssl/certs/ca-certificates.crt ] ||
        cp -L /etc/ssl/certs/ca-certificates.crt "$place/etc/ssl/certs/ca-certificates.crt"
    found=$(enter_version)
    [ "$found" = "$RUST" ] || {
        echo "Debian's $SUITE has Rust $found now, and cross/versions says $RUST: change it there, and look that all tests pass" >&2
        exit 1
    }
    sources "$place/build/photo-factory-$version"
    for arch in $architectures; do
        enter "$place" sh -euc 'cd "$1" && exec dpkg-buildpackage -d -b -uc -us -a"$2" -Pnocheck' build "/build/photo-factory-$version" "$arch"
        rm -rf "$place/build/photo-factory-$version/target"
        take "$place/build"
    done
    rm -rf --one-file-system "$place"
    trap - EXIT
}

enter_version() {
    mkdir -p "$work/cargo"
    enter "$place" rustc --version | cut -d' ' -f2
}

# With what this machine has.
prepare_here() {
    foreign=$(dpkg --print-foreign-architectures)
    for arch in $architectures; do
        [ "$arch" = "$native" ] || echo "$foreign" | grep -qx "$arch" || {
            become_root "dpkg --add-architecture $arch"
            $as_root dpkg --add-architecture "$arch"
            $as_root apt-get update -qq </dev/null
        }
    done
    # shellcheck disable=SC2046 # one word per package
    need $(tools)
}

here() {
    prepare_here
    find_cargo
    for arch in $architectures; do
        if [ "$mode" = here ] && ! [ -d "$(rustc --print sysroot)/lib/rustlib/$(rust "$arch")" ]; then
            command -v rustup >/dev/null && rustup target add "$(rust "$arch")" || {
                echo "This Rust cannot build for $arch: rustup target add $(rust "$arch"), or the package libstd-rust-dev:$arch" >&2
                exit 1
            }
        fi
    done
    place=$work/here
    rm -rf "$place"
    sources "$place/photo-factory-$version"
    builder=cargo
    if [ "$mode" = docker ]; then
        command -v cross >/dev/null || {
            echo "cross is missing: cargo install cross --locked" >&2
            exit 1
        }
        builder=cross
        export CROSS_CONFIG="$place/photo-factory-$version/cross/Cross.toml"
    fi
    for arch in $architectures; do
        (cd "$place/photo-factory-$version" && PHOTO_FACTORY_BUILDER=$builder dpkg-buildpackage -d -b -uc -us -a"$arch" -Pnocheck)
        rm -rf "$place/photo-factory-$version/target"
        take "$place"
    done
}

# take FOLDER: what was built there comes to target/deb; with --again, it must be what was there already.
take() {
    for deb in "$1"/photo-factory_*.deb; do
        name=$(basename "$deb")
        if [ "$again" = compare ]; then
            cmp "$deb" "$target/deb/$name" || {
                echo "$name is another one when it is built again" >&2
                exit 1
            }
            echo "$name: the same, built twice"
            rm "$deb"
        else
            mv "$deb" "$target/deb/$name"
        fi
    done
}

build() {
    case "$mode" in
        root) in_root ;;
        *) here ;;
    esac
}

build
if [ "$again" = yes ]; then
    again=compare
    build
fi
(cd "$target/deb" && ls -l photo-factory_"$version"_*.deb)
