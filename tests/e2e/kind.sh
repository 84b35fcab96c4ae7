#!/usr/bin/env bash
# The stories of this folder on a kind cluster of their own, which goes with the end of the script. Takes Docker and the
# set-up of `make programs`. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN:-.venv/bin}
name=looparr-e2e-$$
image=looparr:e2e

if ! docker info >/dev/null 2>&1; then
	echo "No Docker engine answers: start it, or run \`make e2e\`, which needs none." >&2
	exit 1
fi
kind=$("$bin/looparr" sandbox binaries kind --install | awk '{print $NF}')
folder=$(mktemp -d)
export E2E_KUBECONFIG=$folder/kubeconfig E2E_IMAGE=$image
trap '"$kind" delete cluster --name "$name" --kubeconfig "$E2E_KUBECONFIG" >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT

"$bin/looparr" sandbox image --tag "$image" --output "$folder/image.tar"
"$kind" create cluster --name "$name" --kubeconfig "$E2E_KUBECONFIG" --wait 180s
"$kind" load image-archive "$folder/image.tar" --name "$name"
# The bridge's address is this machine's, as pods see it.
E2E_HOST=$(docker network inspect kind --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m1 -F .)
export E2E_HOST

"$bin/pytest" -q tests/e2e/test_pods.py "$@"
