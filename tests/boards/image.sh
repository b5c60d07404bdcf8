#!/bin/sh
# Runs the NAS images as a NAS does: tests/boards/image.sh [ARCH...] (default: all that are in target/image)
#
# As a user nobody has heard of, with a read-only root, without capabilities, in 256 MB: a photo put into the inbox is filed, the
# page answers, the health check says so, SIGTERM ends it. Foreign architectures run by qemu's user emulation. Needs root. Podman's
# own storage is left alone.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
. tests/boards/checks.sh
if [ "$(id -u)" != 0 ]; then
    echo "skipped: the NAS images need root to be run" >&2
    exit 0
fi
need podman runc skopeo jq curl qemu-user-static libimage-exiftool-perl docker-compose

images=${CARGO_TARGET_DIR:-target}/image
work=$(mktemp -d)
container=
# crun, podman's usual runtime, refuses machines that have cgroups of both kinds.
pod() {
    podman --runtime runc --root "$work/storage" --runroot "$work/run" --storage-driver vfs --cgroup-manager cgroupfs \
        --events-backend none "$@" 2>>"$work/podman"
}
clean_up() {
    if [ -n "$container" ]; then
        pod rm -f -t 0 "$container" >/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
# An interrupted sh runs no EXIT trap of its own accord.
trap 'exit 130' INT TERM

# The smallest photo with a date: 8 × 8 grey pixels, taken on 4 March 2021.
photo() {
    base64 -d <<'END'
/9j/4QBIRXhpZgAASUkqAAgAAAABAGmHBAABAAAAGgAAAAAAAAABAAOQAgAUAAAALAAAAAAAAAAyMDIxOjAzOjA0IDA1OjA2OjA3AP/bAEMAEBAQEBAQ
EBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEP/AAAsIAAgACAEBEQD/xAAfAAABBQEBAQEB
AQAAAAAAAAAAAQIDBAUGBwgJCgv/xAC1EAACAQMDAgQDBQUEBAAAAX0BAgMABBEFEiExQQYTUWEHInEUMoGRoQgjQrHBFVLR8CQzYnKCCQoWFxgZGiUm
JygpKjQ1Njc4OTpDREVGR0hJSlNUVVZXWFlaY2RlZmdoaWpzdHV2d3h5eoOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK
0tPU1dbX2Nna4eLj5OXm5+jp6vHy8/T19vf4+fr/2gAIAQEAAD8A+9X/2Q==
END
}
photo >"$work/photo"

# arrives NAME INBOX: the photo, as Syncthing brings it, from the appliance's user.
arrives() {
    cp "$work/photo" "$2/.syncthing.$1.tmp"
    chown "$user" "$2/.syncthing.$1.tmp"
    mv "$2/.syncthing.$1.tmp" "$2/$1"
}
is_filed() { cmp -s "$work/photo" "$1/Storage/Originals/2021/2021-03-04/$2" && [ ! -e "$1/Photos_Inbox/$2" ]; }
said_address() { pod logs "$container" | grep -o 'http://127\.0\.0\.1:[0-9]*/' >"$work/address"; }
is_over() { [ "$(pod inspect -f '{{.State.Running}}' "$container")" = false ]; }
exit_code_is() { [ "$(pod inspect -f '{{.State.ExitCode}}' "$container")" = "$1" ]; }
doctor_finds_nothing() {
    once doctor --json >"$work/doctor" || true
    jq -e '.findings == 0 and ([.checks[] | select(.check == "metadata" or .check == "courier") | .level] == ["ok", "ok"])' \
        "$work/doctor" || { cat "$work/doctor"; false; }
}
# once ARGUMENTS...: a container that only does this.
# shellcheck disable=SC2086 # one word per option
once() { pod run --rm --no-healthcheck $hardened -v "$data:/data" "$image" "$@"; }
# Nothing but the three can be started, and nothing has the rights of another user.
has_only_ours() {
    find "$1" -type f -perm /111 ! -name '*.so.*' -printf '/%P\n' | sort >"$work/programs"
    printf '%s\n' /usr/bin/photo-factory /usr/libexec/photo-factory/photo-factory-courier \
        /usr/libexec/photo-factory/photo-factory-exif | diff "$work/programs" - && [ -z "$(find "$1" -perm /6000)" ]
}

# lives ARCHIVE: one image, from load to end.
lives() {
    archive=$1
    image=$(pod load -q -i "$archive" | sed -n 's/^Loaded image: //p' | tail -n 1)
    data=$work/data
    user=$((20000 + $$ % 20000)):$((30000 + $$ % 20000))
    rm -rf "$data"
    mkdir "$data"
    chown "$user" "$data"
    hardened="--read-only --read-only-tmpfs=false --user $user --cap-drop ALL --security-opt no-new-privileges --memory 256m
        --ulimit nofile=1024:4096 --ulimit nproc=1000:1000 --network host --env TZ=Europe/Berlin"

    began=$(date +%s%N)
    # shellcheck disable=SC2086 # one word per option
    container=$(pod run -d --log-driver k8s-file $hardened -v "$data:/data" "$image" run --listen 127.0.0.1:0)
    check "it starts as user $user with a read-only root" await 60 said_address
    address=$(tail -n 1 "$work/address")
    check "its page answers at ${address:-?}" await 60 curl -sSf -o "$work/page" "$address"
    echo "        first page after $((($(date +%s%N) - began) / 1000000)) ms, with the container's own start"
    check "its page is ours" grep -q 'Photo Factory' "$work/page"
    arrives IMG_0001.JPG "$data/Photos_Inbox"
    check "a photo in the inbox is filed by its day, with its bytes" await 60 is_filed "$data" IMG_0001.JPG
    check "what it makes belongs to its user" [ "$(stat -c %u:%g "$data/Storage/Originals/2021/2021-03-04/IMG_0001.JPG")" = "$user" ]
    check "the health check is well" await 60 pod healthcheck run "$container"
    check "doctor has no findings, and both workers start" doctor_finds_nothing
    echo "        $(awk '/VmRSS/ { print int($2 / 1024) " MiB" }' "/proc/$(pod inspect -f '{{.State.Pid}}' "$container")/status") resident"
    pod kill -s TERM "$container" >/dev/null
    check "SIGTERM ends it" await 60 is_over
    check "it ends with 0" exit_code_is 0
    check "the health check is not well without it" refused once status --check
    pod rm -f "$container" >/dev/null
    container=

    arrives IMG_0002.JPG "$data/Photos_Inbox"
    check "one pass over the inbox (the photo is a duplicate)" once ingest
    check "the duplicate was cleared" [ ! -e "$data/Photos_Inbox/IMG_0002.JPG" ]
    check "verify reads the photo again and finds it right" once verify
    # The volume is new: the image decides who may write there.
    check "any user may use a volume that Docker makes" pod run --rm --no-healthcheck --read-only --user 4242:4242 --network host \
        --ulimit nofile=1024:4096 --ulimit nproc=1000:1000 -v photos:/data "$image" ingest
    pod volume rm photos >/dev/null
    tree=$(pod image mount "$image")
    check "it holds no program but the three" has_only_ours "$tree"
    pod image unmount "$image" >/dev/null
    pod rmi -f "$image" >/dev/null
}

if [ $# = 0 ]; then
    for archive in "$images"/*_docker.tar; do
        arch=${archive%_docker.tar}
        set -- "$@" "${arch##*_}"
    done
fi
for arch in "$@"; do
    echo "$arch"
    case $arch in
        amd64) platform=amd64 ;;
        arm64) platform=arm64 ;;
        armhf) platform=arm ;;
        *)
            echo "There are no images for $arch, but for amd64, arm64 and armhf." >&2
            exit 1
            ;;
    esac
    archive=$(find "$images" -name "*_${arch}_docker.tar" | sort -V | tail -n 1)
    if [ -z "$archive" ]; then
        echo "There is no image for $arch in $images: make it with packaging/image.sh." >&2
        exit 1
    fi
    run_foreign "$arch"
    lives "$archive"
    all=${archive%_"${arch}"_docker.tar}_oci.tar
    check "the archive of all architectures has the same image" sh -c "
        skopeo --override-arch $platform inspect --config oci-archive:$all | jq -S 'del(.variant)' >$work/one
        skopeo --override-arch $platform inspect --config docker-archive:$archive | jq -S 'del(.variant)' | diff - $work/one"
done

check "the archive of all architectures can be copied on, as into a registry" \
    skopeo copy --quiet --all "oci-archive:$all" "dir:$work/registry"
echo compose.yaml
check "docker-compose understands it" docker-compose -f packaging/compose.yaml config

if [ "$failed" != 0 ]; then
    echo "$failed checks failed. What podman said:" >&2
    tail -n 40 "$work/podman" >&2
    exit 1
fi
echo "All well"
