#!/bin/sh
# The whole life of a board, in a virtual machine: boots Debian with the package and Syncthing on an emulated Cortex-A53 with
# 512 MB, gives it photos through Syncthing, stops it from answering, cuts the power in the middle of an ingest, and boots it
# without a clock. `boot.sh [DEB]`; without one it takes the newest arm64 .deb in target/deb. As root, for disks are mounted.
set -eu
cd "$(dirname "$0")/../.."
. packaging/needs.sh
arch=arm64
. tests/boards/vm.sh

deb=${1:-$(newest_deb)}
begin boot
sync_address=127.0.0.1:$(free_port)
forwards=,hostfwd=tcp:$sync_address-:22000
run_foreign
base
fresh_disk
sample_pictures "$work/phone"
many_pictures 300 "$work/many" "$work/phone/IMG_0001.JPG"
many_pictures 20 "$work/stuck" "$work/phone/IMG_4242.JPG"
many_pictures 20 "$work/clockless" "$work/phone/20200101_000431.jpg"
for pictures in phone many stuck clockless; do
    hashes "$work/$pictures" >"$work/$pictures.hashes"
done
# What is no photo stays in the inbox, and says so.
sha256sum <"$work/phone/shopping list.txt" | cut -d ' ' -f 1 >"$work/left.hashes"
comm -23 "$work/phone.hashes" "$work/left.hashes" >"$work/photos.hashes"

echo "$(basename "$deb") on $arch, $(date -u '+%F %R')"

echo
echo "Install and boot"
check "apt installs the package, with what it depends on" install_offline "$deb"
began=$(date +%s)
boot
echo "        commands can be given $(($(date +%s) - began)) s after power on"

is_active() { [ "$(unit ActiveState)" = active ]; }
answers() { [ "$(page /healthz)" = ok ]; }
check "the service is active after the boot" await 120 is_active
check "the page is read from outside" await 60 answers
check "the boot ends" guest systemctl is-system-running --wait
check "how long the boot took" guest 'systemd-analyze time | head -n 1'
started() { # From the start of the process until it says that it is ready.
    guest 'systemctl show photo-factory -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic' |
        awk -F= '{ at[$1] = $2 }
            END { printf "%.2f", (at["ActiveEnterTimestampMonotonic"] - at["ExecMainStartTimestampMonotonic"]) / 1e6 }'
}
echo "        ready $(started) s after its start, while everything else starts"

# A program that forks for each look would measure itself: bash asks without one.
cat >"$work/first_page" <<'END'
systemctl restart --no-block photo-factory
before=$1
while
    pid=$(systemctl show photo-factory --value -p MainPID)
    [ "$pid" = "$before" ] || [ "$pid" = 0 ]
do :; done
until { exec 3<>/dev/tcp/127.0.0.1/8380 && printf 'GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3 &&
    read -r -t 5 answer <&3 && [[ $answer == *" 200 "* ]]; } 2>/dev/null; do
    sleep 0.02
done
read -r up _ </proc/uptime
start=$(systemctl show photo-factory --value -p ExecMainStartTimestampMonotonic)
awk -v up="$up" -v start="$start" 'BEGIN { printf "%.2f", up - start / 1e6 }'
END
first_page=$(guest_reads "bash -s $(unit MainPID)" <"$work/first_page") || true
check "start to the first page" at_most 2 "$first_page" s

exposure() {
    guest systemd-analyze security --no-pager photo-factory |
        sed -n 's/.*exposure level for photo-factory.service: \([0-9.]*\).*/\1/p'
}
check "exposure, as systemd-analyze security sees it" at_most 1.5 "$(exposure)" "of 10"

echo
echo "The page and its password"
sees_nothing() {
    for path in /photos /problems /events /logs /api/v1/status /api/v1/photos /api/v1/events /metrics; do
        code=$(stranger "$path" | head -n 1)
        case $code in
            401 | 303) ;;
            *)
                echo "$path answers $code"
                return 1
                ;;
        esac
    done
}
check "without a password a stranger sees nothing but whether all is well" sees_nothing
password=$(guest photo-factory password | grep -oE '[^ ]+$' | head -n 1)
check "with the password that \`photo-factory password\` shows one is let in" sign_in "$password"
give_token
check "a program reads how things stand, with a token" tells '.status != "trouble"'
shown_again() { guest photo-factory password | grep -F "$password"; }
check "it is shown once only" refused shown_again

echo
echo "At rest"
rests() { tells '.activity.state == "watching" and .inbox.depth == 0'; }
check "it watches the inbox" await 60 rests
resident() { guest "sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$1/status"; }
# settled: the main process's resident kB, when two looks with 5 seconds between them saw the same.
settled() {
    pid=$(unit MainPID)
    last=
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        now=$(resident "$pid")
        [ "$now" != "$last" ] || break
        last=$now
        sleep 5
    done
    awk -v kb="$now" 'BEGIN { printf "%.1f", kb / 1024 }'
}
check "memory of the main process" at_most 10 "$(settled)" MiB
# The workers come when there is something to do; Syncthing runs as the same user.
workers() { guest "ps -u photo-factory -o comm=,rss= | awk '{ printf \"%s%s %.1f MiB\", (NR > 1 ? \", \" : \"\"), \$1, \$2 / 1024 }'"; }
echo "        processes: $(workers)"

echo
echo "Photos through Syncthing"
is_configured() { guest "find $home/.config $home/.local/state -name config.xml 2>/dev/null | grep ."; }
check "Debian's Syncthing runs as the service's user" guest systemctl enable --quiet --now syncthing@photo-factory
check "it has made its settings" await 120 is_configured
their_settings=$(is_configured | head -n 1)
their_key=$(guest sed -n "'s:.*<apikey>\(.*\)</apikey>.*:\1:p'" "$their_settings")
their_page=$(free_port)
guest true && ssh -F none -o "ControlPath=$socket" -O forward -L "127.0.0.1:$their_page:127.0.0.1:8384" root@127.0.0.1
# theirs METHOD PATH [JSON]: the REST interface of the machine's Syncthing.
theirs() {
    curl -sS --fail-with-body --max-time 30 -X "$1" -H "X-API-Key: $their_key" ${3:+--data "$3"} "http://127.0.0.1:$their_page$2"
}
check "it answers" await 120 theirs GET /rest/system/ping
their_id=$(theirs GET /rest/system/status | jq -r .myID)

# The phone: Debian's Syncthing on this side. Nothing leaves this machine.
STNODEFAULTFOLDER=1 syncthing generate --home "$work/syncthing" >"$logs/syncthing-generate.txt" 2>&1
our_id=$(sed -n 's/.*<device id="\([^"]*\)".*/\1/p' "$work/syncthing/config.xml" | head -n 1)
our_page=$(free_port)
mkdir -p "$work/phone/.stfolder"
cat >"$work/syncthing/config.xml" <<END
<configuration version="35">
  <folder id="camera" label="Camera" path="$work/phone" type="sendonly" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">
    <device id="$our_id"></device><device id="$their_id"></device>
  </folder>
  <device id="$our_id" name="phone"><address>dynamic</address></device>
  <device id="$their_id" name="board"><address>tcp://$sync_address</address></device>
  <gui enabled="true" tls="false"><address>127.0.0.1:$our_page</address><apikey>phone</apikey></gui>
  <options>
    <listenAddress>tcp://127.0.0.1:$(free_port)</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled>
    <localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled>
    <natEnabled>false</natEnabled>
    <reconnectionIntervalS>1</reconnectionIntervalS>
    <startBrowser>false</startBrowser>
    <urAccepted>-1</urAccepted>
    <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <crashReportingEnabled>false</crashReportingEnabled>
    <stunKeepaliveStartS>0</stunKeepaliveStartS>
    <minHomeDiskFree unit="%">0</minHomeDiskFree>
  </options>
</configuration>
END
theirs PATCH /rest/config/options '{"globalAnnounceEnabled": false, "localAnnounceEnabled": false, "relaysEnabled": false,
    "natEnabled": false, "urAccepted": -1, "crashReportingEnabled": false, "listenAddresses": ["tcp://0.0.0.0:22000"]}'
theirs POST /rest/config/devices "{\"deviceID\": \"$our_id\", \"name\": \"phone\"}"
theirs POST /rest/config/folders "{\"id\": \"camera\", \"label\": \"Camera\", \"path\": \"$home/Photos_Inbox\",
    \"type\": \"receiveonly\", \"devices\": [{\"deviceID\": \"$our_id\"}]}"
# Without STMONITORED the process that we start only watches over another one, which outlives it.
STNOUPGRADE=1 STMONITORED=yes syncthing serve --no-browser --no-restart --home "$work/syncthing" \
    </dev/null >"$logs/syncthing.txt" 2>&1 &
ours=$!
connected() { theirs GET /rest/system/connections | jq -e ".connections[\"$our_id\"].connected"; }
check "the two Syncthings have met" await 120 connected
# 17 samples: a list that is no photo stays, and one picture came twice.
filed() { tells '.photos.total >= 13 and .inbox.depth == 0 and .inbox.left == 1'; }
check "the page says that the photos are filed" await 180 filed
in_originals() { # WANTED
    guest_hashes "$home/Storage/Originals" >"$work/found.hashes"
    all_in "$1" "$work/found.hashes"
}
check "Originals holds every one of them, byte for byte" in_originals "$work/photos.hashes"
phone_keeps() {
    hashes "$work/phone" >"$work/found.hashes"
    all_in "$work/phone.hashes" "$work/found.hashes"
}
check "the phone keeps its copies" phone_keeps
check "memory of the main process, after the photos" at_most 10 "$(settled)" MiB
echo "        processes: $(workers)"

echo
echo "A service that is stuck"
guest "mkdir -p /run/systemd/system/photo-factory.service.d &&
    printf '[Service]\nWatchdogSec=15\n' >/run/systemd/system/photo-factory.service.d/90-test.conf &&
    systemctl daemon-reload && systemctl restart photo-factory"
check "it has started with a watchdog of 15 seconds" await 60 is_active
await 60 answers || true
# give FOLDER: into the machine beside the inbox, synced, and into the inbox in one step.
give() {
    tar -C "$work" -cf - "$1" | guest_reads "runuser -u photo-factory -- tar --warning=no-timestamp -C $home -xf - && sync &&
        mv $home/$1 $home/Photos_Inbox/$1 && sync"
}
is_another() {
    another=$(unit MainPID)
    [ "$another" != "$stuck" ] && [ "$another" != 0 ] && [ "$(unit NRestarts)" -gt "$restarts" ]
}
fed() { # For longer than the watchdog waits, nothing is restarted.
    ! await 22 is_another >/dev/null
}
stuck=$(unit MainPID)
restarts=$(unit NRestarts)
check "while it works the watchdog leaves it alone" fed
check "it is stopped, and hears nothing" guest kill -STOP "$stuck"
give stuck
check "the watchdog ends it, and systemd starts it again" await 180 is_another
watchdog_said() { guest 'journalctl -b -u photo-factory | grep -m 1 -o "Watchdog timeout.*"'; }
check "it was the watchdog" watchdog_said
check "the page answers again" await 60 answers
check "what came meanwhile is filed" await 180 tells '.photos.total >= 33 and .inbox.depth == 0'
check "byte for byte" in_originals "$work/stuck.hashes"
check "the page knows Syncthing" await 60 tells '.services[] | select(.service_name == "syncthing") | .status == "up"'
guest "rm /run/systemd/system/photo-factory.service.d/90-test.conf && systemctl daemon-reload"

echo
echo "A power cut in the middle of an ingest"
before=$(told .photos.total)
give many
under_way() {
    kept=$(told .photos.total)
    [ "$kept" -ge $((before + 20)) ]
}
await 240 under_way || true
power_cut
kept=$(told .photos.total 2>/dev/null || echo "${kept:-0}")
# On the disk as the cut left it; mounting it takes in its journal, as the boot would.
mount -o loop "$work/disk" "$work/mnt"
in_inbox=$(find "$work/mnt$home/Photos_Inbox/many" -type f | wc -l)
hashes "$work/mnt$home/Storage/Originals" >"$work/found.hashes"
in_both=$(comm -12 "$work/many.hashes" "$work/found.hashes" | wc -l)
fell_between() {
    echo "$in_inbox wait in the inbox, $in_both of 300 stand in Originals"
    [ "$in_inbox" -gt 0 ] && [ "$in_both" -gt 0 ]
}
check "the cut fell into it" fell_between
find "$work/mnt$home/Photos_Inbox" "$work/mnt$home/Storage/Originals" -type f -exec sha256sum {} + |
    cut -d ' ' -f 1 | sort -u >"$work/found.hashes"
sort -u "$work/many.hashes" "$work/stuck.hashes" "$work/photos.hashes" >"$work/given.hashes"
check "every photo is in the inbox or in Originals" all_in "$work/given.hashes" "$work/found.hashes"
umount "$work/mnt"
boot
check "it boots again, and the page answers" await 120 answers
check "whoever was signed in still is, or signs in again" sign_in "$password"
all_filed() { tells ".photos.total >= $((before + 300)) and .inbox.depth == 0"; }
check "the rest is filed" await 300 all_filed
check "Originals holds every one of them" in_originals "$work/given.hashes"
verified() {
    sound=0
    factory verify >"$logs/verify.txt" 2>&1 || sound=$?
    tail -n 1 "$logs/verify.txt"
    return $sound
}
check "nothing is missing or changed" verified

echo
echo "No clock at boot"
# history FILE: every beat and every event that the page tells of.
history() {
    for service in $(told '.services[].service_name'); do
        told ".beats[] | \"beat $service \\(.at) \\(.status)\"" "/api/v1/services/$service"
    done >"$1.part"
    from="/api/v1/events?limit=100"
    while [ -n "$from" ]; do
        told . "$from" >"$work/events.json"
        jq -r '.events[] | "event \(.at) \(.text)"' "$work/events.json" >>"$1.part"
        next=$(jq -r '.next // empty' "$work/events.json")
        from=${next:+"/api/v1/events?limit=100&before=$next"}
        case $next in /*) from=$next ;; esac
    done
    sort -u "$1.part" >"$1"
}
# What is gathered is written when it stops: then all that follows is of one file.
guest systemctl stop photo-factory
guest systemctl start photo-factory
await 60 answers || true
history "$work/history.before"
power_off
boot -rtc base=2001-01-01T00:00:00
is_early() {
    shown=$(guest date +%s)
    guest date
    [ "$shown" -lt $(($(date +%s) - 30 * 86400)) ]
}
check "the clock is wrong" is_early
check "the page answers all the same" await 120 answers
check "one signs in" sign_in "$password"
give clockless
total=$((before + 300 + 20))
check "photos are filed" await 180 tells ".photos.total >= $total and .inbox.depth == 0"
on_its_day() {
    guest "ls $home/Storage/Originals/2020/2020-01-01 | wc -l" | { read -r count && echo "$count on 2020-01-01" && [ "$count" -ge 21 ]; }
}
check "under their own day" on_its_day
check "byte for byte" in_originals "$work/clockless.hashes"
# The net is there again: the time comes, as a time service sets it.
guest "date -s @$(date +%s)" >/dev/null
guest systemctl restart photo-factory
check "with the clock right again the page answers" await 120 answers
history "$work/history.after"
check "nothing that was remembered is gone" all_in "$work/history.before" "$work/history.after"
check "nothing is missing or changed" verified
check "the phone still has all its copies" phone_keeps
check "the machine can be switched off" power_off
