#!/bin/sh
# Runs every test, and installs first what they need. Arguments go to `cargo test`.
set -eu
cd "$(dirname "$0")/.."
. packaging/needs.sh

find_cargo
need gcc libc6-dev pkg-config libgexiv2-dev syncthing chromium libimage-exiftool-perl openssl strace faketime \
    e2fsprogs xfsprogs
borrow promtool prometheus
npm_tools tests/browser

# Chromium's and strace's tests share the machine with the one that writes for a minute: all are bounded in time.
# Building takes as long as it takes; tests that take so long hang.
cargo test --workspace --locked --no-run "$@"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
status=0
{
    timeout --kill-after=60 80m cargo test --workspace --locked --no-fail-fast "$@" -- --nocapture 2>&1 ||
        echo "cargo test failed ($?; 124: not done in time)"
} | tee "$said"

echo
echo "What was run:"
grep -E '^ +Running |^ +Doc-tests|^test result' "$said" || true
grep 'skipped: ' "$said" || true
if grep -q '^cargo test failed' "$said"; then
    grep -E '^test .*FAILED$|^    [a-z_0-9:]+$' "$said" || true
    status=1
fi
passed=$(sed -n 's/^test result: .* \([0-9][0-9]*\) passed.*/\1/p' "$said" | awk '{ sum += $1 } END { print sum + 0 }')
echo "$passed tests passed"
if [ "$passed" = 0 ]; then
    echo "No test was run: that is a failure." >&2
    status=1
fi
exit $status
