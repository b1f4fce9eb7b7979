#!/bin/sh
# Stage `policy`, step 3 of 3 of chat.tune.
# Start it on each of 2 machines that share TUNELANG_HOME: NODE=0 to 1,
# RENDEZVOUS=HOST:PORT, where the machine of NODE=0 is reached by all others.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${TUNELANG_SETUP:-}" ]; then . "$TUNELANG_SETUP"; fi
exec "${TUNELANG_PYTHON:-python3}" -m tunelang run plan.json --only policy --plain --node "$NODE" --rendezvous "$RENDEZVOUS"
