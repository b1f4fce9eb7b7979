#!/bin/sh
# Stage `policy`, step 3 of 3 of chat.tune.
# Start it on each of 2 machines that share TUNELANG_HOME: NODE=0 to 1,
# RENDEZVOUS=HOST:PORT, where the machine of NODE=0 is reached by all others.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${TUNELANG_SETUP:-}" ]; then . "$TUNELANG_SETUP"; fi
"${TUNELANG_PYTHON:-python3}" -c 'import tunelang' 2>/dev/null || {
  echo "${TUNELANG_PYTHON:-python3} has no TuneLang: activate its environment, or set TUNELANG_PYTHON" >&2
  exit 1
}
exec "${TUNELANG_PYTHON:-python3}" -m tunelang run plan.json --only policy --plain --node "${NODE:?0 to 1}" --rendezvous "${RENDEZVOUS:?HOST:PORT of node 0}"
