#!/bin/sh
# The life of the package on this machine's own architecture, in a container with a systemd of its own: install, upgrade, downgrade,
# an inbox shared with others, remove, purge, install again, a disk of its own. `life.sh [DEB]`; without one it takes the newest
# amd64 .deb in target/deb. As root, for disks are mounted.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
arch=amd64
. tests/boards/vm.sh

deb=${1:-$(newest_deb)}
begin life
base
fresh_disk
version=$(dpkg-deb -f "$deb" Version)

# earlier VERSION: the same package, as if it had been made before.
earlier() {
    rm -rf "$work/earlier"
    dpkg-deb -R "$deb" "$work/earlier"
    sed -i "s/^Version: .*/Version: $1/" "$work/earlier/DEBIAN/control"
    for script in preinst postinst prerm postrm; do
        [ ! -e "$work/earlier/DEBIAN/$script" ] || sed -i "s/^this=.*/this=$1/" "$work/earlier/DEBIAN/$script"
    done
    dpkg-deb --root-owner-group -Zgzip -b "$work/earlier" "$work/photo-factory_$1_amd64.deb" >/dev/null
    echo "$work/photo-factory_$1_amd64.deb"
}
first=$(earlier "$version~1")
second=$(earlier "$version~2")

sample_pictures "$work/phone"
sha256sum <"$work/phone/shopping list.txt" | cut -d ' ' -f 1 >"$work/left.hashes"
hashes "$work/phone" >"$work/phone.hashes"
comm -23 "$work/phone.hashes" "$work/left.hashes" >"$work/photos.hashes"
many_pictures 3 "$work/plain" "$work/phone/IMG_0001.JPG"
many_pictures 3 "$work/private" "$work/phone/IMG_4242.JPG"
many_pictures 3 "$work/disk1" "$work/phone/20200101_000431.jpg"
many_pictures 3 "$work/disk2" "$work/phone/IMG-20240131-WA0007.jpg"
for pictures in plain private disk1 disk2; do
    hashes "$work/$pictures" >"$work/$pictures.hashes"
done

# The disk for photos: a container has no loop devices of its own.
truncate -s 64M "$work/photos.img"
mke2fs -q -t ext4 "$work/photos.img"
loop=$(losetup --find --show "$work/photos.img")
loops=$loop

echo "$(basename "$deb") on $arch, $(date -u '+%F %R')"
boot "--bind=$loop"

# apt VERB PACKAGE OR FILE: what apt says is kept.
apt_said=$logs/apt.txt
apt() {
    verb=$1
    shift
    for given in "$@"; do
        case $given in
            *.deb) guest_reads "cat >/root/$(basename "$given")" <"$given" && set -- "$@" "./$(basename "$given")" ;;
            *) set -- "$@" "$given" ;;
        esac
        shift
    done
    echo "== apt-get $verb $*" >>"$logs/apt.all.txt"
    ended=0
    guest "cd /root && DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get $verb -y $*" >"$apt_said" 2>&1 || ended=$?
    cat "$apt_said" >>"$logs/apt.all.txt"
    [ "$ended" = 0 ] || {
        tail -n 15 "$apt_said"
        return 1
    }
}
says() { grep -m 1 -o "$1.*" "$apt_said"; }

is_active() { [ "$(unit ActiveState)" = active ]; }
answers() { [ "$(page /healthz)" = ok ]; }
installed_is() { same "$1" "$(guest "dpkg-query -W -f '\${Version}' photo-factory")"; }
# put FOLDER: into the inbox, by the service's user.
put() { tar -C "$work" -cf - "$1" | guest_reads "runuser -u photo-factory -- tar -C $home/Photos_Inbox -xf -"; }
in_originals() { # WANTED [FOLDER]
    guest_hashes "${2:-$home/Storage}/Originals" >"$work/found.hashes"
    all_in "$1" "$work/found.hashes"
}
rows() { factory export | wc -l; }
first_password() { guest photo-factory password | grep -oE '[^ ]+$' | head -n 1; }

echo
echo "Install"
check "apt installs it" apt install "$first"
check "it says where the page is" says 'http://photos.local:8380/'
check "and the command that shows the password" says 'sudo photo-factory password'
check "the service is active" await 30 is_active
check "the page is read from outside" await 30 answers
check "and by its name, http://photos.local:8380/" await 30 guest curl -sSf --max-time 10 -o /dev/null http://photos.local:8380/
check "status --check agrees" guest photo-factory status --check
nothing_said() { same "" "$(guest photo-factory status --check 2>&1)"; }
check "and says nothing" nothing_said
password=$(first_password)
check "with the password that is shown one is let in" sign_in "$password"
give_token
again() { guest photo-factory password | grep -F "$password"; }
check "which is shown once only" refused again
check "systemd and apt are content" guest 'systemctl is-system-running --wait && dpkg --audit'

echo
echo "Upgrade"
guest systemctl stop photo-factory
guest_reads "cat >$home/Data/ledger.redb && rm -f $home/Data/ledger.made" <tests/data/ledger-v1.redb
check "apt puts $version~2 in the place of $version~1, and of a ledger of the first format" apt install "$second"
check "that is what is installed" installed_is "$version~2"
check "the page answers" await 60 answers
brought() { guest 'journalctl -u photo-factory | grep -m 1 -o "the ledger is brought up to date"'; }
check "the ledger was of the first format, and is brought up to date" await 30 brought
check "its four rows are kept" same 4 "$(rows)"
check "the password is still the same" sign_in "$password"
put phone
filed() { tells '.inbox.depth == 0 and .photos.total >= 16'; }
check "photos are filed" await 60 filed
check "byte for byte" in_originals "$work/photos.hashes"
guest "grep -q '^\[monitor\]' /etc/photo-factory/photo-factory.toml || echo '[monitor]' >>/etc/photo-factory/photo-factory.toml
    sed -i 's/^\[monitor\]/&\nquiet_phone_days = 21/' /etc/photo-factory/photo-factory.toml"
settings=$(guest sha256sum /etc/photo-factory/photo-factory.toml)
guest systemctl restart photo-factory
check "settings are changed" await 30 answers
before=$(rows)
await 30 tells '.beats | length > 0' /api/v1/services/librarian || true
told '.beats[] | "\(.at) \(.status)"' /api/v1/services/librarian | sort -u >"$work/beats.before"
check "apt puts $version in the place of $version~2" apt install "$deb"
check "that is what is installed" installed_is "$version"
check "the page answers" await 60 answers
kept() {
    same "$before" "$(rows)" && in_originals "$work/photos.hashes"
}
check "every row and photo is kept" kept
check "changed settings are kept" same "$settings" "$(guest sha256sum /etc/photo-factory/photo-factory.toml)"
check "and in force" await 30 tells '.settings | tostring | contains("21")' /api/v1/services/service-monitor
check "the password is still the same" sign_in "$password"
told '.beats[] | "\(.at) \(.status)"' /api/v1/services/librarian | sort -u >"$work/beats.after"
check "heartbeats are kept" all_in "$work/beats.before" "$work/beats.after"

echo
echo "Downgrade"
downgraded() { apt install --allow-downgrades "$second"; }
check "an older version is refused" refused downgraded
check "with the reason" says "photo-factory $version is installed, and $version~2 is older"
check "the newer one stays" installed_is "$version"
check "and runs on" await 30 is_active
check "the page answers" await 30 answers
check "apt is content" guest 'apt-get -qq check && dpkg --audit'

echo
echo "An inbox shared with others"
guest 'useradd --create-home --groups photo-factory phone'
# by_phone UMASK FOLDER: another user brings it; tar would set the modes that the files have here.
by_phone() {
    tar -C "$work" -cf - "$2" | guest_reads "rm -rf /tmp/$2 && tar -C /tmp -xf - && chmod -R a+rX /tmp/$2 &&
        runuser -u phone -- sh -c 'umask $1 && mkdir $home/Photos_Inbox/by-phone-$2 && cd /tmp/$2 &&
            for picture in *; do cat \"\$picture\" >$home/Photos_Inbox/by-phone-$2/\$picture; done'"
}
cleared() { same "" "$(guest "find $home/Photos_Inbox/by-phone-* -type f")"; }
check "another user's files come, umask 022" by_phone 022 plain
check "another user's files come, umask 077" by_phone 077 private
check "they are filed and the inbox is cleared" await 60 cleared
check "byte for byte, umask 022" in_originals "$work/plain.hashes"
check "byte for byte, umask 077" in_originals "$work/private.hashes"
stranger_to() { guest "useradd nobody2 && runuser -u nobody2 -- ls $home/Photos_Inbox"; }
check "who is not of the group sees nothing" refused stranger_to

echo
echo "Remove"
rows=$(rows)
check "apt removes it" apt remove photo-factory
gone() { ! answers && ! guest 'test -e /usr/bin/photo-factory || systemctl is-active photo-factory'; }
check "program and service are gone" gone
check "photos are kept" in_originals "$work/photos.hashes"
check "so are ledger, settings and history" guest "ls $home/Data/ledger.redb $home/Data/history.redb /etc/photo-factory/photo-factory.toml"
check "apt installs it again" apt install "$deb"
check "the page answers" await 60 answers
check "with the same password" sign_in "$password"
check "and the same rows" same "$rows" "$(rows)"

echo
echo "Purge"
guest "mkdir -p $home/Storage/Derivatives && touch $home/Storage/Derivatives/thumbnail"
inbox=$(guest "find $home/Photos_Inbox -type f | sort | xargs -d '\n' sha256sum")
check "apt purges it" apt purge photo-factory
check "it says where the photos are" says "$home/Storage/Originals"
check "and the ledger" says "$home/Data"
check "photos are kept" in_originals "$work/photos.hashes"
check "so is what waits in the inbox" same "$inbox" "$(guest "find $home/Photos_Inbox -type f | sort | xargs -d '\n' sha256sum")"
check "and the ledger" guest "ls $home/Data/ledger.redb"
left_over() {
    same "" "$(guest "ls -d /etc/photo-factory /etc/systemd/system/photo-factory.service.d $home/Data/page-* $home/Data/history.* \
        $home/Data/syncthing-certificate $home/Data/alerts.json $home/Logs $home/Storage/Derivatives 2>/dev/null || true")"
}
check "settings, secrets, history and thumbnails are gone" left_over
check "apt is content" guest 'apt-get -qq check && dpkg --audit'
check "apt installs it again" apt install "$deb"
check "the page answers" await 60 answers
password=$(first_password)
check "with a new first password" sign_in "$password"
give_token
check "and the ledger that was kept" same "$rows" "$(rows)"
check "no trouble is told" tells '.status != "trouble"'
verified() { # The ledger of the first format came without its four photos.
    factory verify >"$logs/verify.txt" || true
    [ "$(grep -c 'is missing\|missing' "$logs/verify.txt")" -ge 1 ] && tail -n 1 "$logs/verify.txt"
}
check "verify names the photos that the first ledger came without" verified

echo
echo "A disk of its own"
guest "mkdir -p /mnt/photos && mount $loop /mnt/photos && mkdir /mnt/photos/Storage && cp -a $home/Storage/. /mnt/photos/Storage/ &&
    chown photo-factory: /mnt/photos/Storage"
setup() { guest photo-factory setup --storage /mnt/photos/Storage --yes; }
check "setup takes it" setup
guest systemctl restart photo-factory
check "the page answers" await 60 answers
put disk1
check "photos are filed" await 60 tells ".inbox.depth == 0 and ([.newest[].original_name] | index(\"IMG_1003.JPG\"))"
check "on that disk" in_originals "$work/disk1.hashes" /mnt/photos/Storage
unmounted() { guest umount /mnt/photos; }
check "at rest the disk can be unmounted" await 30 unmounted
check "the page says so" await 60 tells '[.notices[], .message, .activity.trouble] | tostring | contains("/mnt/photos/Storage")'
check "the service runs on" is_active
put disk2
sleep 8
waits() { same 3 "$(guest "find $home/Photos_Inbox/disk2 -type f | wc -l")"; }
check "photos wait" waits
check "nothing is written to the empty mount point" same "" "$(guest ls /mnt/photos)"
guest mount "$loop" /mnt/photos
cleared_2() { same "" "$(guest "find $home/Photos_Inbox/disk2 -type f")"; }
check "mounted again, work goes on" await 60 cleared_2
check "byte for byte" in_originals "$work/disk2.hashes" /mnt/photos/Storage
check "no change of the settings was lost" guest "grep -q '^listen' /etc/photo-factory/photo-factory.toml"
guest umount /mnt/photos || guest "systemctl stop photo-factory && umount /mnt/photos" || true
check "the machine can be switched off" power_off
