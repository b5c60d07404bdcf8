#!/bin/sh
# Makes all that a release consists of: packaging/release.sh [--debs DIR]
#
# It lies in target/release-files/VERSION/ then:
#
#   photo-factory_VERSION_ARCH.deb            the packages, built by cross/build.sh for arm64, armhf and amd64; with --debs, those in DIR
#   photo-factory_VERSION_oci.tar, ..._ARCH_docker.tar, compose.yaml    the images for a NAS (packaging/image.sh)
#   photo-factory_VERSION_ARCH.cdx.json       what it is made of (CycloneDX): the crates, and Debian's libraries in the image
#   photo-factory_VERSION_ARCH.licences.txt   the licences of the crates
#   photo-factory_VERSION.tar.xz              the sources
#   apt/                                      a repository for apt, ready to be served, with photo-factory.sources for its users
#   SIZES, SHA256SUMS                         how large it is; the hash of every file
#
# The same commit gives the same SHA256SUMS, as long as Debian's archive holds the same libraries for the images.
#
# PHOTO_FACTORY_SIGN_KEY: the gpg key with which repository and hashes are signed; without it, neither is. PHOTO_FACTORY_REPOSITORY:
# the address where apt/ will be served, for photo-factory.sources.
set -eu
cd "$(dirname "$0")/.."
. packaging/needs.sh
. cross/versions

repository=$PWD
cyclonedx=0.5.7
key=${PHOTO_FACTORY_SIGN_KEY:-}
address=${PHOTO_FACTORY_REPOSITORY:-https://example.org/photo-factory}
target=${CARGO_TARGET_DIR:-target}
debs=
case ${1:-} in
    '') ;;
    --debs)
        debs=${2:?"--debs needs the folder of the .debs"}
        ;;
    *)
        echo "packaging/release.sh does not know \"$1\": it takes --debs DIR, or nothing" >&2
        exit 1
        ;;
esac
export LC_ALL=C
umask 022

find_cargo
need apt-utils jq perl xz-utils binutils
[ -z "$key" ] || need gpg

if [ -n "$(git status --porcelain)" ]; then
    # With --debs it is tried out, or repeated.
    if [ -z "$debs" ]; then
        echo "The working tree has changes that are not committed: a release is made of a commit." >&2
        git status --short >&2
        exit 1
    fi
    echo "Note: what is not committed is not in the sources of this release." >&2
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$*"; }

step "Packages"
if [ -z "$debs" ]; then
    # What an earlier version left there must not get into this one.
    rm -f "$target"/deb/photo-factory_*.deb
    cross/build.sh arm64 armhf amd64
    debs=$target/deb
fi
set -- "$debs"/photo-factory_*.deb
if [ ! -e "$1" ]; then
    echo "There is no photo-factory_*.deb in $debs." >&2
    exit 1
fi
version=$(dpkg-deb -f "$1" Version)
for deb in "$@"; do
    if [ "$(dpkg-deb -f "$deb" Version)" != "$version" ]; then
        echo "$deb is not of version $version, as $1 is: a release has one version. Remove the other." >&2
        exit 1
    fi
done
name=photo-factory_$version
out=$target/release-files/$version
rm -rf "$out"
mkdir -p "$out"
cp "$@" "$out/"

step "Sources"
# To be looked at where no build has left anything, and cargo-cyclonedx may write beside them.
mkdir "$work/source"
git archive --format=tar --prefix="photo-factory-$version/" HEAD >"$work/source.tar"
xz -T1 -9 -c "$work/source.tar" >"$out/$name.tar.xz"
tar -x -f "$work/source.tar" -C "$work/source" --strip-components=1

step "Images"
rm -f "$target"/image/photo-factory_*
packaging/image.sh "$@"
mv "$target/image/$name"_*.tar "$out/"
tag=$(printf %s "$version" | tr '~+' '--')
sed "s/image: photo-factory:.*/image: photo-factory:$tag/" packaging/compose.yaml >"$out/compose.yaml"

# triple_of ARCH: what Rust calls it.
triple_of() {
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        armhf) echo armv7-unknown-linux-gnueabihf ;;
    esac
}

# components ARCH: Debian's packages in the image, as components of CycloneDX.
components() {
    rm -rf "$work/layer"
    mkdir "$work/layer"
    tar -x -O -f "$out/${name}_$1_docker.tar" --wildcards '*/layer.tar' | tar -x -C "$work/layer" var/lib/dpkg/status.d
    for package in "$work"/layer/var/lib/dpkg/status.d/*; do
        [ "${package##*/}" != photo-factory ] || continue
        jq -cn --arg name "${package##*/}" --arg version "$(sed -n 's/^Version: //p' "$package")" \
            --arg architecture "$(sed -n 's/^Architecture: //p' "$package")" --arg suite "$SUITE" '{
            type: "library", "bom-ref": "deb:\($name)@\($version)", name: $name, version: $version, scope: "required",
            purl: "pkg:deb/debian/\($name | @uri)@\($version | @uri)?arch=\($architecture)&distro=\($suite)"
        }'
    done
}

step "What it is made of, and under which licences"
if [ "$("$target/tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null | grep -o '[0-9.]*$')" != "$cyclonedx" ]; then
    # It runs for a second: there is nothing to optimise.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --debug --locked --force --root "$target/tools" --target-dir "$target/tools/build" \
        "cargo-cyclonedx@$cyclonedx"
    rm -r "$target/tools/build"
fi
program=$(realpath "$target/tools/bin/cargo-cyclonedx")
here=$(realpath "$work/source")
time=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
for deb in "$@"; do
    arch=$(dpkg-deb -f "$deb" Architecture)
    (cd "$work/source" && "$program" cyclonedx --quiet --quiet --format json --spec-version 1.5 --no-build-deps \
        --target "$(triple_of "$arch")" --override-filename sbom)
    components "$arch" >"$work/components"
    # The number of a document must be its own: it is made of what it says. Where it was made is left out.
    jq --arg here "$here" --arg time "$time" --slurpfile debian "$work/components" '
        walk(if type == "string" then gsub("path\\+file://" + $here; "path+file:///photo-factory") | gsub("\\?download_url=file://[^#]*"; "") else . end)
        | .metadata.timestamp = $time
        | .components += $debian
        | .dependencies |= map(if ."ref" | startswith("path+file:///photo-factory#photo-factory@")
            then .dependsOn = ((.dependsOn // []) + ($debian | map(."bom-ref"))) else . end)
        | .dependencies += ($debian | map({ref: ."bom-ref"}))
        | del(.serialNumber)' "$work/source/sbom.json" >"$work/sbom.json"
    number=$(sha256sum "$work/sbom.json" | sed 's/^\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\).*/urn:uuid:\1-\2-8\3-8\4-\5/')
    jq --arg number "$number" '{bomFormat, specVersion, serialNumber: $number} + .' "$work/sbom.json" >"$out/${name}_$arch.cdx.json"
    if grep -q "$here" "$out/${name}_$arch.cdx.json"; then
        echo "${name}_$arch.cdx.json names a folder of this machine: look how cargo-cyclonedx $cyclonedx writes paths." >&2
        exit 1
    fi
    (cd "$work/source" && perl "$repository/packaging/third-party.pl" "$(triple_of "$arch")") >"$out/${name}_$arch.licences.txt"
    echo "$arch: $(jq '.components | length' "$out/${name}_$arch.cdx.json") components"
done

step "Repository for apt"
apt=$out/apt
mkdir -p "$apt/pool/main/p/photo-factory"
architectures=
for deb in "$@"; do
    ln "$out/$(basename "$deb")" "$apt/pool/main/p/photo-factory/"
    architectures="$architectures $(dpkg-deb -f "$deb" Architecture)"
done
(
    cd "$apt"
    for arch in $architectures; do
        folder=dists/stable/main/binary-$arch
        mkdir -p "$folder"
        apt-ftparchive --arch "$arch" packages pool >"$folder/Packages"
        gzip -n -9 -k "$folder/Packages"
        xz -T1 -9 -k "$folder/Packages"
    done
    apt-ftparchive -o APT::FTPArchive::Release::Origin="Photo Factory" -o APT::FTPArchive::Release::Label="Photo Factory" \
        -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
        -o APT::FTPArchive::Release::Architectures="${architectures# }" -o APT::FTPArchive::Release::Components=main \
        release dists/stable >"$work/Release"
    sed "s/^Date: .*/Date: $(date -u -d "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')/" "$work/Release" >dists/stable/Release
)
{
    echo "# For /etc/apt/sources.list.d/photo-factory.sources; then: apt update && apt install photo-factory"
    if [ -n "$key" ]; then
        gpg --batch --export "$key" >"$apt/photo-factory.gpg"
        gpg --batch --yes --local-user "$key" --armor --detach-sign --output "$apt/dists/stable/Release.gpg" "$apt/dists/stable/Release"
        gpg --batch --yes --local-user "$key" --clearsign --output "$apt/dists/stable/InRelease" "$apt/dists/stable/Release"
        echo "# The key first: wget -O /usr/share/keyrings/photo-factory.gpg $address/photo-factory.gpg"
    fi
    echo "Types: deb"
    echo "URIs: $address"
    echo "Suites: stable"
    echo "Components: main"
    if [ -n "$key" ]; then
        echo "Signed-By: /usr/share/keyrings/photo-factory.gpg"
    else
        echo "# It is not signed: whoever can change what is served, or what travels, can change what is installed."
        echo "Trusted: yes"
    fi
} >"$apt/photo-factory.sources"
[ -n "$key" ] || echo "Not signed: PHOTO_FACTORY_SIGN_KEY names no key." >&2

step "Sizes"
{
    printf '%-8s %12s %12s %14s %14s %12s\n' "" .deb installed photo-factory image.tar image.gz
    for deb in "$@"; do
        arch=$(dpkg-deb -f "$deb" Architecture)
        dpkg-deb --fsys-tarfile "$deb" >"$work/files.tar"
        # The layer in the archive of all architectures is compressed.
        layer=$(tar -x -O -f "$out/${name}_${arch}_docker.tar" --wildcards '*/layer.tar' | gzip -n -9 | wc -c)
        printf '%-8s %12s %12s %14s %14s %12s\n' "$arch" "$(stat -c %s "$deb")" \
            "$(tar -t -v -f "$work/files.tar" | awk '{ sum += $3 } END { print sum }')" \
            "$(tar -x -O -f "$work/files.tar" ./usr/bin/photo-factory | wc -c)" \
            "$(stat -c %s "$out/${name}_${arch}_docker.tar")" "$layer"
    done
    echo "In bytes. The aims: photo-factory at most 4194304, the .deb at most 3145728."
} | tee "$out/SIZES"

# Signatures have a time of their own, and sign what is listed here.
(cd "$out" && find . -type f ! -name InRelease ! -name Release.gpg -printf '%P\n' | sort | xargs sha256sum) >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" "$out/SHA256SUMS"
[ -z "$key" ] || gpg --batch --yes --local-user "$key" --armor --detach-sign --output "$out/SHA256SUMS.asc" "$out/SHA256SUMS"

step "Release $version"
du -sh "$out"
