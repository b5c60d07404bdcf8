# shellcheck shell=sh disable=SC2154
# Sourced by the scripts about packages and machines: one line for each check, what they wait for, and programs of other architectures.

boards="$(realpath -m "${CARGO_TARGET_DIR:-target}")/boards"
failed=0

# check WHAT COMMAND...: one line. What the command says is its figure where it went well, and the reason where it did not.
check() {
    what=$1
    shift
    if said=$("$@" 2>&1); then
        # Whoever says more than a line says no figure.
        [ "$(printf '%s\n' "$said" | wc -l)" = 1 ] || said=
        echo "ok      $what${said:+: $said}"
    else
        echo "FAILED  $what"
        printf '%s\n' "$said" | tail -n 20 | sed 's/^/        /'
        failed=$((failed + 1))
    fi
}

# give_up WHY: where nothing that follows could be looked at.
give_up() {
    echo "FAILED  $1: nothing more can be looked at"
    failed=$((failed + 1))
    exit 1
}

# await SECONDS COMMAND...: until it is so; fails, and says so, when the time is over.
await() {
    patience=$1
    deadline=$(($(date +%s) + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            echo "not within $patience seconds: $*"
            return 1
        fi
        sleep 0.3
    done
}

# at_most LIMIT FIGURE UNIT, both as decimals.
at_most() {
    echo "$2 $3 (at most $1)"
    awk -v limit="$1" -v figure="$2" 'BEGIN { exit !(figure != "" && figure + 0 <= limit + 0) }'
}

# same EXPECTED FOUND
same() {
    [ "$1" = "$2" ] || {
        printf 'expected: %s\nfound: %s\n' "$1" "$2"
        return 1
    }
}

# refused COMMAND...: it fails.
refused() {
    ! "$@" >/dev/null
}

free_port() {
    while
        port=$(shuf -n 1 -i 20000-32000)
        ss -Hltn "sport = :$port" | grep -q .
    do :; done
    echo "$port"
}

# run_foreign [ARCH]: programs of the foreign architecture run here by qemu's user emulation, also in roots of their own. What is
# registered stays so.
run_foreign() {
    case ${1:-$arch} in
        "$(dpkg --print-architecture)") return 0 ;;
        amd64) emulator=qemu-x86_64 ;;
        arm64) emulator=qemu-aarch64 ;;
        armhf) emulator=qemu-arm ;;
    esac
    handlers=/proc/sys/fs/binfmt_misc
    [ -e $handlers/register ] || mount -t binfmt_misc binfmt_misc $handlers
    [ -e $handlers/$emulator ] || cat /usr/lib/binfmt.d/$emulator.conf >$handlers/register
}

# newest_deb: the one of this architecture.
newest_deb() {
    found=$(ls -t "${CARGO_TARGET_DIR:-target}"/deb/photo-factory_*_"$arch".deb 2>/dev/null | head -n 1)
    [ -n "$found" ] || {
        echo "No target/deb/photo-factory_*_$arch.deb: build it first, or name the .deb." >&2
        exit 1
    }
    echo "$found"
}
