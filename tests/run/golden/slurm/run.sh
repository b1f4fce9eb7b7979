#!/bin/sh
# Submits every stage; each waits for those it needs, and ends with them.
set -eu
cd "$(dirname "$0")"
mkdir -p logs
export TUNELANG_PYTHON="${TUNELANG_PYTHON:-python3}"
job1=$(sbatch --parsable launch/01-base.sbatch)
echo "base: ${job1}"
job2=$(sbatch --parsable --kill-on-invalid-dep=yes --dependency="afterok:${job1%%;*}" launch/02-judge.sbatch)
echo "judge: ${job2}"
job3=$(sbatch --parsable --kill-on-invalid-dep=yes --dependency="afterok:${job1%%;*}:${job2%%;*}" launch/03-policy.sbatch)
echo "policy: ${job3}"
