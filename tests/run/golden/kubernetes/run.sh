#!/bin/sh
# Applies the stages in order; each is waited for.
set -eu
cd "$(dirname "$0")"
kubectl apply --server-side -f launch/plan.yaml
state() { kubectl get "trainjob/$1" -n "$2" -o jsonpath='{.status.conditions[?(@.status=="True")].type}'; }
follow() {
  kubectl apply --server-side -f "$3"
  until case "$(state "$1" "$2")" in *Complete*) true ;; *Failed*) exit 1 ;; *) false ;; esac; do sleep 10; done
}
follow tunelang-base-11111111 team launch/01-base.yaml
follow tunelang-judge-22222222 team launch/02-judge.yaml
follow tunelang-policy-33333333 team launch/03-policy.yaml
