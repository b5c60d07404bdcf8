# shellcheck shell=sh disable=SC2154
# Sourced by boot.sh and life.sh: a machine with Debian and systemd, commands in it, and its page.
# The caller says what `arch` is (arm64 or amd64), and starts in the repository's root, as root.

. tests/boards/checks.sh

boots=0
machine=
forwards=

# begin NAME: a folder for this run, and what must be so in the end however it ends.
begin() {
    # Interfaces have short names.
    name=pf$$
    veth=ve-$name
    [ "$(id -u)" = 0 ] || {
        echo "$0 mounts disks: start it as root." >&2
        exit 1
    }
    need mmdebstrap qemu-system-arm qemu-user-static arch-test systemd-container e2fsprogs openssh-client curl jq iproute2 \
        syncthing
    work=$boards/$1.$$
    logs=$boards/$1.logs
    mkdir -p "$work/mnt"
    rm -rf "$logs"
    mkdir -p "$logs"
    trap finish EXIT
    trap 'exit 130' INT TERM HUP
    ssh-keygen -q -t ed25519 -N '' -f "$work/key"
    ssh_address=127.0.0.1:$(free_port)
    page_name=127.0.0.1:$(free_port)
}

finish() {
    code=$?
    trap '' INT TERM HUP
    if [ -n "$machine" ]; then
        guest 'journalctl --no-pager -b' >"$logs/journal.txt" 2>/dev/null || true
        power_cut
    fi
    for process in ${ours:-}; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    for device in ${loops:-}; do
        losetup --detach "$device"
    done
    ! mountpoint -q "$work/mnt" || umount "$work/mnt"
    ! mountpoint -q "$work/base" || umount "$work/base"
    rm -rf "$work"
    echo
    echo "Logs of the machine: $logs"
    [ "$code" = 0 ] || [ "$failed" != 0 ] || echo "FAILED  it ended early ($code)"
    [ "$failed" = 0 ] || echo "$failed checks FAILED"
    [ "$code" = 0 ] && [ "$failed" = 0 ] && echo "All as it should be." && exit 0
    exit 1
}

# The disk that every run begins with: Debian 12 as on a board, without Photo Factory. Made once, and kept.
# PHOTO_FACTORY_SOURCES names a sources.list of yours, where it is to be made from another mirror.
base() {
    case $arch in
        arm64) kernel=linux-image-arm64, ;;
        amd64) kernel= ;;
    esac
    packages=${kernel}systemd,systemd-sysv,dbus,udev,openssh-server,syncthing,avahi-daemon,libnss-mdns,libgexiv2-2
    packages=$packages,acl,iproute2,ca-certificates,kmod,procps,tzdata,curl,e2fsprogs,sudo
    disk=$boards/$arch.ext4
    if [ -e "$disk" ] && [ "$(cat "$disk.packages")" = "$packages" ]; then
        return 0
    fi
    echo "Making Debian 12 for $arch in $disk: minutes, for a foreign architecture up to half an hour"
    rm -f "$disk" "$disk.packages"
    mkdir -p "$work/base"
    truncate -s 4G "$work/base.ext4"
    mke2fs -q -t ext4 "$work/base.ext4"
    mount -o loop "$work/base.ext4" "$work/base"
    # Only what this machine boots by is put into the initrd: looking through all modules takes half an hour in emulation.
    mkdir -p "$work/initramfs-tools/conf.d" "$work/initramfs-tools/hooks"
    echo MODULES=list >"$work/initramfs-tools/conf.d/board"
    cat >"$work/initramfs-tools/hooks/board" <<'END'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4
END
    chmod 755 "$work/initramfs-tools/hooks/board"
    mmdebstrap --arch="$arch" --variant=minbase --include="$packages" \
        --essential-hook="copy-in $work/initramfs-tools /etc" bookworm "$work/base" \
        ${PHOTO_FACTORY_SOURCES:+"$PHOTO_FACTORY_SOURCES"} >"$logs/mmdebstrap.txt" 2>&1 || {
        tail -n 20 "$logs/mmdebstrap.txt" >&2
        give_up "Debian for $arch is made by mmdebstrap"
    }
    furnish "$work/base"
    if [ -n "$kernel" ]; then
        cp "$work/base"/boot/vmlinuz-* "$boards/$arch.kernel"
        cp "$work/base"/boot/initrd.img-* "$boards/$arch.initrd"
    fi
    umount "$work/base"
    mv "$work/base.ext4" "$disk"
    echo "$packages" >"$disk.packages"
}

# furnish ROOT: what an installer would ask for. The network is the machine's own; no time service, as on a board without net.
furnish() {
    echo photos >"$1/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 photos\n::1 localhost\n' >"$1/etc/hosts"
    printf '[Match]\nName=e*\n[Network]\nDHCP=yes\n' >"$1/etc/systemd/network/80-wired.network"
    # A session of logind for each command would be in the way of what is measured.
    printf 'UsePAM no\nUseDNS no\n' >"$1/etc/ssh/sshd_config.d/board.conf"
    systemctl --quiet --root "$1" enable systemd-networkd ssh
    systemd-machine-id-setup --root "$1" >/dev/null
}

# A disk for this run alone.
fresh_disk() {
    cp --sparse=always --reflink=auto "$boards/$arch.ext4" "$work/disk"
    mount -o loop "$work/disk" "$work/mnt"
    cp "$work/key.pub" "$work/mnt/etc/ssh/board.keys"
    echo 'AuthorizedKeysFile /etc/ssh/board.keys' >"$work/mnt/etc/ssh/sshd_config.d/key.conf"
    if [ "$arch" = amd64 ]; then
        # Addresses of the link-local kind: they meet nobody's network.
        net=169.254.$((1 + $$ % 250))
        outside=$net.1
        ssh_address=$net.2:22
        page_name=$net.2:8380
        printf '[Match]\nName=host0\n[Network]\nAddress=%s/30\n' "$net.2" >"$work/mnt/etc/systemd/network/10-host0.network"
    fi
    umount "$work/mnt"
}

# install_offline DEB: with apt in the disk that is not booted, as an image for a card is made.
install_offline() {
    mount -o loop "$work/disk" "$work/mnt"
    cp "$1" "$work/mnt/root/"
    cp -L /etc/resolv.conf "$work/mnt/etc/resolv.conf"
    # Nothing is to be started where nothing is booted.
    printf '#!/bin/sh\nexit 101\n' >"$work/mnt/usr/sbin/policy-rc.d"
    chmod 755 "$work/mnt/usr/sbin/policy-rc.d"
    installed=0
    # In a mount namespace of its own: what is mounted for it goes with it.
    unshare --mount sh -eu -c '
        mount -t proc proc "$1/proc"
        mount -t sysfs sysfs "$1/sys"
        export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
        chroot "$1" apt-get install -y "/root/$2" || {
            chroot "$1" apt-get update
            chroot "$1" apt-get install -y "/root/$2"
        }' sh "$work/mnt" "$(basename "$1")" </dev/null >"$logs/install.txt" 2>&1 || installed=$?
    rm "$work/mnt/usr/sbin/policy-rc.d"
    umount "$work/mnt"
    [ "$installed" = 0 ] || {
        tail -n 20 "$logs/install.txt"
        return 1
    }
}

# boot [ARGUMENT...]: until commands can be given. What is for this machine's own architecture runs in a container with a
# systemd of its own; a foreign one is emulated whole. The arguments go to systemd-nspawn or to QEMU.
boot() {
    boots=$((boots + 1))
    serial=$logs/serial.$boots.txt
    socket=$work/ssh.$boots
    case $arch in
        arm64) board "$@" ;;
        amd64) container "$@" ;;
    esac </dev/null >"$logs/machine.$boots.txt" 2>&1 &
    machine=$!
    if [ "$arch" = amd64 ]; then
        await 30 ip link show "$veth"
        ip address replace "$outside/30" dev "$veth"
        ip link set "$veth" up
    fi
    await 300 is_up_or_off || true
    if is_off || ! guest true; then
        tail -n 20 "$logs"/*".$boots.txt"
        give_up "the machine boots"
    fi
}

board() {
    exec qemu-system-aarch64 -M virt -cpu cortex-a53 -m 512 -smp 2 -display none -monitor none -no-reboot \
        -serial "file:$serial" -kernel "$boards/$arch.kernel" -initrd "$boards/$arch.initrd" \
        -append "root=/dev/vda rw quiet panic=-1 net.ifnames=0 console=ttyAMA0" \
        -drive "if=none,id=disk,format=raw,file=$work/disk" -device virtio-blk-pci,drive=disk \
        -netdev "user,id=net,hostfwd=tcp:$ssh_address-:22,hostfwd=tcp:$page_name-:8380$forwards" \
        -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci "$@"
}

container() {
    mountpoint -q "$work/mnt" || mount -o loop "$work/disk" "$work/mnt"
    # Where this machine has no systemd, nobody keeps a list of containers.
    exec systemd-nspawn --quiet --register=no --keep-unit --machine="$name" --directory="$work/mnt" --boot \
        --network-veth --console=pipe "$@"
}

is_up_or_off() {
    is_off || guest true
}

# guest COMMAND: as root in the machine.
guest() {
    guest_reads "$@" </dev/null
}

# The same with standard input.
guest_reads() {
    ssh -F none -i "$work/key" -p "${ssh_address#*:}" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o LogLevel=ERROR -o ConnectTimeout=10 -o ServerAliveInterval=20 -o ControlMaster=auto -o ControlPersist=yes \
        -o "ControlPath=$socket" "root@${ssh_address%:*}" "$@"
}

# The mains plug: what the machine had not written is lost with it.
power_cut() {
    case $arch in
        arm64) kill -KILL "$machine" 2>/dev/null || true ;;
        # With its first process a container ends, and systemd-nspawn tidies up; killed itself, it would leave it running.
        amd64) pkill -KILL -P "$machine" 2>/dev/null || kill -KILL "$machine" 2>/dev/null || true ;;
    esac
    wait "$machine" 2>/dev/null || true
    machine=
}

power_off() {
    guest systemctl poweroff || true
    await 90 is_off || power_cut
    wait "$machine" 2>/dev/null || true
    machine=
}

# It has ended; until it is waited for, it is a zombie.
is_off() {
    [ ! -e "/proc/$machine" ] || grep -q '^State:.*zombie' "/proc/$machine/status"
}

# page PATH [ARGUMENT OF CURL...]: the page as this side of the network sees it.
page() {
    path=$1
    shift
    curl -sS --max-time 30 -b "$work/cookies" "$@" "http://$page_name$path"
}

# stranger PATH: without the cookie; the status code goes before what is answered.
stranger() {
    curl -sS --max-time 30 -w '\n%{http_code}\n' "http://$page_name$1" | tac
}

# sign_in PASSWORD
sign_in() {
    rm -f "$work/cookies"
    form=$(page /sign-in | sed -n 's/.*name="token" value="\([^"]*\)".*/\1/p')
    answered=$(page /sign-in -c "$work/cookies" -o /dev/null -w '%{http_code}' \
        --data-urlencode "token=$form" --data-urlencode "password=$1")
    same 303 "$answered"
}

# give_token: sessions end when the service does; what a program reads with stays.
give_token() {
    token=$(guest photo-factory password --token | head -n 1)
}

# told FILTER [PATH]: what the page's JSON says, by jq.
told() {
    page "${2:-/api/v1/status}" --fail -H "Authorization: Bearer $token" | jq -r "$1"
}

# tells FILTER [PATH]: whether it says so. Not by jq's exit code: with nothing to read that is 0.
tells() {
    [ "$(told "$@")" = true ]
}

# unit PROPERTY: of the service, as systemd knows it.
unit() {
    guest systemctl show photo-factory --value -p "$1"
}

home=/var/lib/photo-factory

# factory ARGUMENT...: the program in the machine, as the service's user.
factory() {
    guest runuser -u photo-factory -- photo-factory --root $home --config /etc/photo-factory/photo-factory.toml "$@"
}

# hashes FOLDER: the SHA-256 of every file here, sorted. What Syncthing keeps for itself is no file of the owner's.
hashes() {
    find "$1" -name '.st*' -prune -o -type f -exec sha256sum {} + | cut -d ' ' -f 1 | sort -u
}

# guest_hashes FOLDER...: the same there.
guest_hashes() {
    guest "find $* -name '.st*' -prune -o -type f -exec sha256sum {} +" | cut -d ' ' -f 1 | sort -u
}

# all_in WANTED FOUND: files with a sorted hash a line; every one of the first is in the second.
all_in() {
    [ -s "$1" ] || {
        echo "there is nothing to look for"
        return 1
    }
    missing=$(comm -23 "$1" "$2" | wc -l)
    echo "$(wc -l <"$1") looked for, $missing missing"
    [ "$missing" = 0 ]
}

# The sample pictures of the project, in FOLDER.
sample_pictures() {
    samples=${CARGO_TARGET_DIR:-target}/release/examples/sample-pictures
    [ -x "$samples" ] || {
        find_cargo
        need gcc libc6-dev pkg-config libgexiv2-dev
        cargo build --release --locked --example sample-pictures
    }
    mkdir -p "$1"
    "$samples" "$1" >/dev/null
}

# many_pictures COUNT FOLDER MODEL: so many different photos: what follows the end of a JPEG makes each another file.
many_pictures() {
    mkdir -p "$2"
    number=0
    while [ "$number" -lt "$1" ]; do
        number=$((number + 1))
        { cat "$3" && echo "$2 $number"; } >"$2/IMG_$((1000 + number)).JPG"
    done
}
