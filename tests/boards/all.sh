#!/bin/sh
# Everything about boards, in an hour or two: the packages for all three architectures, the life of a package, a whole
# board, the image for a NAS, and the tests against the programs for ARM. CI does this when PHOTO_FACTORY_BOARDS is set.
set -eu
cd "$(dirname "$0")/../.."

failed=
part() {
    printf '\n-- %s\n' "$*"
    "$@" || failed="$failed $1"
}

cross/build.sh --again
part tests/boards/deb.sh --built
part tests/boards/life.sh
part tests/boards/boot.sh
part tests/boards/image.sh
part tests/boards/release.sh
part tests/boards/binaries.sh arm64
part tests/boards/binaries.sh armhf
[ -z "$failed" ] || {
    echo "FAILED:$failed" >&2
    exit 1
}
