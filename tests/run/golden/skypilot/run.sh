#!/bin/sh
# Launches all stages as one pipeline: each starts when the last is done.
set -eu
cd "$(dirname "$0")"
exec sky jobs launch --yes launch/pipeline.yaml
