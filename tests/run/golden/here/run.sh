#!/bin/sh
# Runs every stage in order; what is in the store already is reused.
set -eu
cd "$(dirname "$0")"
sh launch/01-base.sh
sh launch/02-judge.sh
sh launch/03-policy.sh
