#!/bin/sh
# Makes a release twice and holds it to what packaging/release.sh promises: tests/boards/release.sh [DIR] (of .debs; default: target/deb)
#
# Both have the same hashes; apt, in a root that knows nothing but Debian and this repository, takes each architecture's package from
# it, and refuses it when it was changed.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
. cross/versions
. tests/boards/checks.sh
need mmdebstrap apt-utils gpg jq debian-archive-keyring

debs=${1:-${CARGO_TARGET_DIR:-target}/deb}
work=$(mktemp -d)
# apt's user looks into it.
chmod 755 "$work"
trap 'GNUPGHOME="$work/gpg" gpgconf --kill all; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

GNUPGHOME=$work/gpg
PHOTO_FACTORY_SIGN_KEY=release@example.org
export GNUPGHOME PHOTO_FACTORY_SIGN_KEY
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-gen-key "A key for this test <$PHOTO_FACTORY_SIGN_KEY>" ed25519 sign never 2>"$work/gpg.log"

made_twice() {
    packaging/release.sh --debs "$debs" || return 1
    # Nothing of the first may serve the second.
    cp "$release/SHA256SUMS" "$work/first"
    rm -rf "$release"
    sleep 1
    packaging/release.sh --debs "$debs" || return 1
    diff "$work/first" "$release/SHA256SUMS"
}
# installed_from REPOSITORY ARCH: what apt does on a new machine; emulation is not needed where no maintainer script runs.
installed_from() {
    rm -rf "$work/root"
    mmdebstrap --quiet --variant=extract --architectures="$2" --include=photo-factory --skip=check/empty,cleanup/apt \
        --aptopt='APT::Sandbox::User "root"' --aptopt='Acquire::Retries "5"' \
        --setup-hook="echo 'deb [signed-by=$work/apt/photo-factory.gpg] copy:$1 stable main' >\"\$1\"/etc/apt/sources.list.d/own.list" \
        "$SUITE" "$work/root" ${PHOTO_FACTORY_SOURCES:+"$PHOTO_FACTORY_SOURCES"} &&
        [ -x "$work/root/usr/bin/photo-factory" ]
}
is_complete() { (cd "$release" && sha256sum --quiet --check SHA256SUMS && gpg --batch --verify SHA256SUMS.asc SHA256SUMS); }
has_the_sources() {
    git archive --format=tar --prefix="photo-factory-$version/" HEAD >"$work/source.tar"
    xz -d -c "$release/photo-factory_$version.tar.xz" | cmp - "$work/source.tar"
}
names_crates_and_libraries() {
    jq -e '.bomFormat == "CycloneDX" and ([.components[].purl] | (any(startswith("pkg:cargo/redb@")) and any(startswith("pkg:deb/debian/libexiv2"))))
        and ([.dependencies[].dependsOn // [] | .[]] - [.components[]."bom-ref"] == [])' "$1"
}

set -- "$debs"/photo-factory_*.deb
version=$(dpkg-deb -f "$1" Version)
release=${CARGO_TARGET_DIR:-target}/release-files/$version
check "made twice, it is the same to the byte" made_twice
check "every file has the hash that SHA256SUMS says, which is signed" is_complete
check "the sources are those of the commit" has_the_sources
cp -R "$release/apt" "$work/apt"
for deb in "$@"; do
    arch=$(dpkg-deb -f "$deb" Architecture)
    check "$arch: apt takes the package from the repository, and its dependencies from Debian" installed_from "$work/apt" "$arch"
    check "$arch: the list of components names crates and Debian's libraries" names_crates_and_libraries "$release/photo-factory_${version}_$arch.cdx.json"
    check "$arch: the crates' licences are there" grep -q '^redb ' "$release/photo-factory_${version}_$arch.licences.txt"
done
cp -R "$work/apt" "$work/changed"
sed -i 's/^Label: .*/Label: Another Factory/' "$work/changed/dists/stable/InRelease"
check "apt refuses a repository whose signature does not fit" refused installed_from "$work/changed" "$arch"
rm -rf "$work/changed"
cp -R "$work/apt" "$work/changed"
find "$work/changed/pool" -name "*_$arch.deb" -exec sh -c 'printf x >>"$1"' append {} \;
check "apt refuses a package that was changed" refused installed_from "$work/changed" "$arch"

cat "$release/SIZES"
if [ "$failed" != 0 ]; then
    echo "$failed checks failed" >&2
    exit 1
fi
echo "All well"
