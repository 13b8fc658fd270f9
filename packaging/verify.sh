#!/usr/bin/env bash
# Holds logherald.service to its promises: no word from `systemd-analyze verify`, exposure of 1.2 or less.
# Works without a running systemd and writes nothing outside a temporary directory.
set -euo pipefail
unit="$(cd "$(dirname "$0")" && pwd)/logherald.service"
# score times ten
threshold=12

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# `verify` fails where the programs are not installed, so a stub stands in for ours
printf '#!/bin/sh\n' > "$work/stub"
chmod 755 "$work/stub"
sed -E "s#^(Exec[A-Za-z]+=)/usr/bin/logherald#\1$work/stub#" "$unit" > "$work/logherald.service"
if grep -E '^Exec(Start|Reload)' "$work/logherald.service" | grep -qv "$work/stub"; then
    echo "logherald.service: an Exec line does not begin with /usr/bin/logherald" >&2
    exit 1
fi

# it returns 0 for unknown keys and only prints, so any word of it is a fault
said="$(systemd-analyze verify --man=no "$work/logherald.service" 2>&1)" || { echo "$said" >&2; exit 1; }
if [ -n "$said" ]; then
    echo "systemd-analyze verify is not silent:" >&2
    echo "$said" >&2
    exit 1
fi

systemd-analyze security --offline=true --threshold="$threshold" --no-pager "$unit" > "$work/security" || {
    cat "$work/security" >&2
    echo "logherald.service is more exposed than 1.2" >&2
    exit 1
}
tail -n 1 "$work/security"
