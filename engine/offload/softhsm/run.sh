#!/usr/bin/env bash
# Tests package offload with a PKCS#11 token. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v softhsm2-util >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	(apt-get update -qq && apt-get install -y -qq softhsm2) >/dev/null 2>&1 || true
fi
for tool in softhsm2-util openssl gcc; do
	if ! command -v "$tool" >/dev/null; then
		echo "SKIPPED: there is no $tool here"
		exit 0
	fi
done
export SOFTHSM_REQUIRED=1 # from here on, a test that is skipped has failed
go test -count=1 -v -timeout 180s "$@" .
