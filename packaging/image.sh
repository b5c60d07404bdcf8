#!/bin/sh
# Makes the images for a NAS from the .debs, without Docker: packaging/image.sh [DEB...]
#
# Without arguments it takes target/deb/photo-factory_*.deb. What it makes lies in target/image/:
#
#   photo-factory_VERSION_oci.tar          all architectures in one OCI archive: for podman, skopeo, containerd and registries
#   photo-factory_VERSION_ARCH_docker.tar  one architecture as `docker save` writes it: for `docker load`, and for the page
#                                          of a Synology (Container Manager, Image, Import) or a QNAP (Container Station)
#
# Which Debian packages are needed, apt decides; of them only the libraries that the three programs name are taken, the time
# zones, and the certificates. No maintainer script runs, so every architecture is made on any machine. The same .debs and the
# same state of Debian's archive give the same bytes.
#
# Where Debian comes from: its own archives, or the file of apt's sources that PHOTO_FACTORY_SOURCES names. SOURCE_DATE_EPOCH: the time
# of every file (default: the last commit's).
set -eu
cd "$(dirname "$0")/.."
. packaging/needs.sh
. cross/versions
need mmdebstrap apt-utils binutils jq debian-archive-keyring

out=${CARGO_TARGET_DIR:-target}/image
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C
umask 022

if [ $# = 0 ]; then
    set -- "${CARGO_TARGET_DIR:-target}"/deb/photo-factory_*.deb
    if [ ! -e "$1" ]; then
        echo "There is no .deb in ${1%/*}: make them with cross/build.sh, or name one." >&2
        exit 1
    fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt's user looks into it.
chmod 755 "$work"

created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

# packed ARCHIVE FOLDER: what is in FOLDER as a tar that is the same every time.
packed() {
    tar -c -f "$1" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 --group=0 \
        -C "$2" --transform='s,^\./,,S' --exclude=./data .
}

# programs_of ROOT: the three that must run.
programs_of() {
    echo "$1/usr/bin/photo-factory"
    echo "$1/usr/libexec/photo-factory/photo-factory-exif"
    echo "$1/usr/libexec/photo-factory/photo-factory-courier"
}

# libraries_of ROOT TRIPLET: the path below ROOT of each library that the programs name, directly or through another.
libraries_of() {
    programs_of "$1" >"$work/unread"
    : >"$work/libraries"
    while [ -s "$work/unread" ]; do
        while read -r file; do
            readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
        done <"$work/unread" | sort -u >"$work/named"
        : >"$work/unread"
        while read -r name; do
            ! grep -q "/$name\$" "$work/libraries" || continue
            for folder in "lib/$2" "usr/lib/$2" lib lib64 usr/lib; do
                if [ -e "$1/$folder/$name" ]; then
                    echo "$folder/$name" >>"$work/libraries"
                    echo "$1/$folder/$name" >>"$work/unread"
                    continue 2
                fi
            done
            echo "No package that photo-factory depends on has the library $name: correct Depends in the .deb." >&2
            exit 1
        done <"$work/named"
    done
    cat "$work/libraries"
}

# keep ROOT IMAGE PATH: copies what PATH leads to.
keep() {
    mkdir -p "$2/${3%/*}"
    cp -L "$1/$3" "$2/$3"
}

# noted_packages ROOT IMAGE: where each file comes from, as scanners for vulnerabilities look for it, and its licence.
noted_packages() {
    mkdir -p "$2/var/lib/dpkg/status.d"
    for archive in "$1"/var/cache/apt/archives/*.deb; do
        package=$(dpkg-deb -f "$archive" Package)
        dpkg-deb -c "$archive" | sed 's/.* \.\/\([^ ]*\)\( -> .*\)\{0,1\}$/\1/' >"$work/files"
        if ! grep -qxF -f "$work/kept" "$work/files"; then
            continue
        fi
        dpkg-deb -f "$archive" >"$2/var/lib/dpkg/status.d/$package"
        # Some packages have the folder of another's: a link from package to package, which is not always there.
        if [ -e "$1/usr/share/doc/$package/copyright" ]; then
            keep "$1" "$2" "usr/share/doc/$package/copyright"
        else
            echo "$package has no copyright file in $archive." >&2
            exit 1
        fi
    done
}

# image_of DEB IMAGE: lays out what the container sees.
image_of() {
    arch=$(dpkg-deb -f "$1" Architecture)
    case $arch in
        amd64) triplet=x86_64-linux-gnu ;;
        arm64) triplet=aarch64-linux-gnu ;;
        armhf) triplet=arm-linux-gnueabihf ;;
        *)
            echo "$1 is for $arch: images are made for amd64, arm64 and armhf." >&2
            exit 1
            ;;
    esac
    rm -rf "$work/repository" "$work/root"
    mkdir "$work/repository"
    cp "$1" "$work/repository/"
    (cd "$work/repository" && apt-ftparchive packages . >Packages)

    mmdebstrap --quiet --variant=extract --architectures="$arch" --aptopt='Acquire::Retries "5"' \
        --include=photo-factory,tzdata,ca-certificates,base-files \
        --skip=check/empty,cleanup/apt,cleanup/reproducible --aptopt='APT::Sandbox::User "root"' \
        --setup-hook="echo 'deb [trusted=yes] copy:$work/repository ./' >\"\$1\"/etc/apt/sources.list.d/own.list" \
        "$SUITE" "$work/root" ${PHOTO_FACTORY_SOURCES:+"$PHOTO_FACTORY_SOURCES"}

    root=$work/root
    mkdir -p "$2/etc/ssl/certs" "$2/tmp" "$2/usr/share"
    programs_of "$root" >"$work/programs"
    libraries_of "$root" "$triplet" >"$work/kept"
    {
        sed "s,^$root/,," "$work/programs"
        # What the kernel starts first; some are named as a library, too.
        readelf -l "$root/usr/bin/photo-factory" | sed -n 's/.*interpreter: \/\(.*\)\]/\1/p'
        echo usr/lib/os-release
    } >>"$work/kept"
    sort -u -o "$work/kept" "$work/kept"
    while read -r file; do
        keep "$root" "$2" "$file"
    done <"$work/kept"
    ln -s ../usr/lib/os-release "$2/etc/os-release"

    # posix and right are the same zones again.
    cp -R "$root/usr/share/zoneinfo" "$2/usr/share/zoneinfo"
    rm -rf "$2/usr/share/zoneinfo/posix" "$2/usr/share/zoneinfo/right"
    echo usr/share/zoneinfo/UTC >>"$work/kept"

    # As update-ca-certificates does, which would be a maintainer script.
    find "$root/usr/share/ca-certificates" -name '*.crt' | sort | while read -r certificate; do
        cat "$certificate"
        echo
    done | sed '/^$/d' >"$2/etc/ssl/certs/ca-certificates.crt"
    grep -q 'BEGIN CERTIFICATE' "$2/etc/ssl/certs/ca-certificates.crt"
    echo usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt >>"$work/kept"

    noted_packages "$root" "$2"
    # The licences of the crates.
    find "$root/usr/share/doc/photo-factory" -type f -name 'THIRD-PARTY*' -printf 'usr/share/doc/photo-factory/%f\n' >"$work/licences"
    while read -r file; do
        keep "$root" "$2" "$file"
    done <"$work/licences"

    printf '%s\n' root:x:0:0:root:/:/sbin/nologin photo-factory:x:1000:1000::/data:/sbin/nologin \
        nobody:x:65534:65534::/:/sbin/nologin >"$2/etc/passwd"
    printf '%s\n' root:x:0: photo-factory:x:1000: nogroup:x:65534: >"$2/etc/group"
    echo 'hosts: files dns' >"$2/etc/nsswitch.conf"
    find "$2" -type d -exec chmod 755 {} +
    find "$2" -type f -perm /111 -exec chmod 755 {} +
    find "$2" -type f ! -perm /111 -exec chmod 644 {} +
    chmod 1777 "$2/tmp"
}

# blob FILE: puts FILE into the OCI layout, under its hash, which it prints.
blob() {
    hash=$(sha256sum "$1" | cut -d ' ' -f 1)
    cp "$1" "$work/oci/blobs/sha256/$hash"
    echo "$hash"
}

# described FILE TYPE: the descriptor of a blob.
described() {
    jq -cn --arg digest "sha256:$(blob "$1")" --arg type "$2" --argjson size "$(stat -c %s "$1")" \
        '{mediaType: $type, digest: $digest, size: $size}'
}

# docker_archive ARCH LAYER CONFIG: what `docker save` of Docker before 25 writes; every version reads it, and so do the pages of NAS makers.
docker_archive() {
    folder=$work/docker
    rm -rf "$folder"
    layer=$(sha256sum "$2" | cut -d ' ' -f 1)
    config=$(sha256sum "$3" | cut -d ' ' -f 1)
    mkdir -p "$folder/$layer"
    cp "$2" "$folder/$layer/layer.tar"
    cp "$3" "$folder/$config.json"
    printf 1.0 >"$folder/$layer/VERSION"
    jq -c --arg id "$layer" '{id: $id, created, architecture, os, config}' "$3" >"$folder/$layer/json"
    jq -cn --arg config "$config.json" --arg tag "photo-factory:$tag" --arg layer "$layer/layer.tar" \
        '[{Config: $config, RepoTags: [$tag], Layers: [$layer]}]' >"$folder/manifest.json"
    jq -cn --arg tag "$tag" --arg layer "$layer" '{"photo-factory": {($tag): $layer}}' >"$folder/repositories"
    packed "$out/photo-factory_${version}_$1_docker.tar" "$folder"
}

mkdir -p "$out" "$work/oci/blobs/sha256"
version=$(dpkg-deb -f "$1" Version)
# A tag has no ~ and no +, which a version may have.
tag=$(printf %s "$version" | tr '~+' '--')
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
: >"$work/manifests"
for deb in "$@"; do
    arch=$(dpkg-deb -f "$deb" Architecture)
    if [ "$(dpkg-deb -f "$deb" Version)" != "$version" ]; then
        echo "$deb is not of version $version, as $1 is: remove the old one, or name the .debs that belong together." >&2
        exit 1
    fi
    echo "Image for $arch, from $deb"
    image=$work/image-$arch
    image_of "$deb" "$image"
    packed "$work/layer.tar" "$image"
    # A new volume gets owner and mode from here: whichever user is chosen may then write into it.
    mkdir "$image/data"
    chmod 777 "$image/data"
    tar -r -f "$work/layer.tar" --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=1000 --group=1000 -C "$image" data
    gzip -n -9 -c "$work/layer.tar" >"$work/layer.tar.gz"

    case $arch in
        amd64) platform='{"architecture":"amd64","os":"linux"}' ;;
        arm64) platform='{"architecture":"arm64","os":"linux","variant":"v8"}' ;;
        armhf) platform='{"architecture":"arm","os":"linux","variant":"v7"}' ;;
    esac
    labels=$(jq -cn --arg version "$version" --arg created "$created" --arg revision "$revision" '{
        "org.opencontainers.image.title": "Photo Factory",
        "org.opencontainers.image.description": "A photo-ingest appliance: phones sync into an inbox, it files every photo by day and never loses one",
        "org.opencontainers.image.version": $version,
        "org.opencontainers.image.revision": $revision,
        "org.opencontainers.image.created": $created,
        "org.opencontainers.image.licenses": "GPL-3.0-or-later"
    }')
    # Healthcheck is Docker's own; OCI leaves such keys alone. Times are in nanoseconds.
    jq -cn --argjson platform "$platform" --argjson labels "$labels" --arg created "$created" \
        --arg diff "sha256:$(sha256sum "$work/layer.tar" | cut -d ' ' -f 1)" '{
        created: $created,
        config: {
            User: "1000:1000",
            ExposedPorts: {"8380/tcp": {}},
            Env: ["PATH=/usr/bin", "HOME=/data"],
            Entrypoint: ["/usr/bin/photo-factory", "--root", "/data"],
            Cmd: ["run", "--listen", "0.0.0.0:8380"],
            Healthcheck: {
                Test: ["CMD", "/usr/bin/photo-factory", "--root", "/data", "status", "--check"],
                Interval: 60000000000, Timeout: 10000000000, StartPeriod: 30000000000, Retries: 3
            },
            Volumes: {"/data": {}},
            WorkingDir: "/data",
            Labels: $labels,
            StopSignal: "SIGTERM"
        },
        rootfs: {type: "layers", diff_ids: [$diff]},
        history: [{created: $created, created_by: "packaging/image.sh"}]
    } + $platform' >"$work/config.json"

    layer=$(described "$work/layer.tar.gz" application/vnd.oci.image.layer.v1.tar+gzip)
    config=$(described "$work/config.json" application/vnd.oci.image.config.v1+json)
    jq -cn --argjson layer "$layer" --argjson config "$config" --argjson labels "$labels" '{
        schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
        config: $config, layers: [$layer], annotations: $labels
    }' >"$work/manifest.json"
    described "$work/manifest.json" application/vnd.oci.image.manifest.v1+json |
        jq -c --argjson platform "$platform" '. + {platform: $platform}' >>"$work/manifests"

    docker_archive "$arch" "$work/layer.tar" "$work/config.json"
    rm -rf "$image"
done

jq -cs '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' "$work/manifests" >"$work/index.json"
described "$work/index.json" application/vnd.oci.image.index.v1+json | jq -c --arg tag "$tag" '{
    schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [. + {annotations: {
        "org.opencontainers.image.ref.name": $tag, "io.containerd.image.name": "docker.io/library/photo-factory:\($tag)"
    }}]
}' >"$work/oci/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
packed "$out/photo-factory_${version}_oci.tar" "$work/oci"

for made in "$out/photo-factory_${version}"_*.tar; do
    printf '%9d bytes  %s\n' "$(stat -c %s "$made")" "$made"
done
