#!/bin/sh
# Stage `judge`, step 2 of 3 of chat.tune.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${TUNELANG_SETUP:-}" ]; then . "$TUNELANG_SETUP"; fi
"${TUNELANG_PYTHON:-python3}" -c 'import tunelang' 2>/dev/null || {
  echo "${TUNELANG_PYTHON:-python3} has no TuneLang: activate its environment, or set TUNELANG_PYTHON" >&2
  exit 1
}
exec "${TUNELANG_PYTHON:-python3}" -m tunelang run plan.json --only judge --plain
