#!/usr/bin/env bash
# The stories of this folder on a kind cluster of their own, which goes with the end of the script. Takes Docker and the
# set-up of `make setup`. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${BIN:-.venv/bin}
name=looparr-e2e
image=looparr:e2e

if ! docker info >/dev/null 2>&1; then
	echo "No Docker engine answers: start it, or run \`make e2e\`, which needs none." >&2
	exit 1
fi
kind=$("$bin/looparr" sandbox binaries kind --install | awk '{print $NF}')
folder=$(mktemp -d)
trap '"$kind" delete cluster --name "$name" >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT

echo "Building $image ..."
docker build --quiet --tag "$image" .
"$kind" create cluster --name "$name" --kubeconfig "$folder/kubeconfig" --wait 180s
"$kind" load docker-image "$image" --name "$name"
# The bridge's address is this machine's, as pods see it.
host=$(docker network inspect kind --format '{{range .IPAM.Config}}{{.Gateway}}{{"\n"}}{{end}}' | grep -m1 -F .)

E2E_KUBECONFIG="$folder/kubeconfig" E2E_HOST="$host" E2E_IMAGE="$image" "$bin/pytest" -q tests/e2e/test_pods.py "$@"
