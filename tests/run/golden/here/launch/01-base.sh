#!/bin/sh
# Stage `base`, step 1 of 3 of chat.tune.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${TUNELANG_SETUP:-}" ]; then . "$TUNELANG_SETUP"; fi
exec "${TUNELANG_PYTHON:-python3}" -m tunelang run plan.json --only base --plain
