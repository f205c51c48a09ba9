#!/usr/bin/env bash
# The replications at 1,000 members and 1,000 non-members, on one GPU, for ten minutes; the same command continues.
#
#   studies/findings/gpu.sh STORE [arguments of byheart run]
#
# Needs the data sets in the folder `data` (see the study files), WikiText-2 with its training split. TEXTS and LIMIT change the
# number of texts and the seconds. Each study that is complete is packed beside the store.
set -euo pipefail
store=$(realpath -m "${1:?name the folder of the store}")
shift
cd "$(dirname "$0")/../.."
byheart=${BYHEART:-.venv/bin/byheart}
texts=${TEXTS:-1000}
ends=$((SECONDS + ${LIMIT:-570}))
for study in replication_webnlg replication_wikitext; do
  left=$((ends - SECONDS))
  [ "$left" -gt 0 ] || { echo "time is over: run the same command again"; exit 0; }
  code=0
  timeout -s INT "$left" "$byheart" run "studies/findings/$study.yaml" --store "$store" \
    --set "data.train=$texts" --set "data.members=$texts" --set "data.nonmembers=$texts" "$@" || code=$?
  [ "$code" -ne 124 ] || { echo "time is over: run the same command again"; exit 0; }
  [ "$code" -eq 0 ] || exit "$code"
  "$byheart" pack --store "$store" --study "$study" -o "$store-$study.tar.xz"
done
