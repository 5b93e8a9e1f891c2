#!/usr/bin/env bash
# Proves the files below deploy/kubernetes.
#   kubernetes.sh quick    kustomize builds every overlay; each is valid for the oldest and the newest Kubernetes
#   kubernetes.sh full     the same, and the pods played by a Docker engine, with what the kubelet would give them
# quick needs kubectl 1.21 or newer. full needs root and $VERIFY, the folder of build_image.sh and dockerd.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export WORK=${WORK:-${TMPDIR:-/tmp}/keepalive-images}
verify=${VERIFY:-../shared/verify}
# Native sidecars are on by default since 1.29; the newest is the newest that kubernetes-validate knows.
oldest=1.29
newest=$(.venv/bin/kubernetes-validate --help | sed -n 's/.*Defaults to \([0-9]*\.[0-9]*\).*/\1/p')

proved() { printf 'kubernetes: %s\n' "$*"; }
fail() { printf 'kubernetes: %s\n' "$*" >&2; exit 1; }

build() {
  local built name said
  command -v kubectl >/dev/null || fail "kubectl is missing: apt-get install kubernetes-client (Debian 13; Debian 12's is too old)"
  built=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$built'" RETURN
  for overlay in deploy/kubernetes/base deploy/kubernetes/overlays/*; do
    name=${overlay##*/}
    kubectl kustomize "$overlay" >"$built/$name.yaml" 2>"$built/said" ||
      fail "kubectl kustomize $overlay: $(tail -1 "$built/said"); kubectl has to be 1.21 or newer"
    [ ! -s "$built/said" ] || fail "kubectl kustomize $overlay: $(cat "$built/said")"
  done
  for version in "$oldest" "$newest"; do
    for file in "$built"/*.yaml deploy/kubernetes/secret.example.yaml; do
      name=$(basename "$file")
      said=$(.venv/bin/kubernetes-validate --strict --kubernetes-version "$version" "$file" 2>&1) ||
        fail "$name is not valid for Kubernetes $version: $said"
      # Of a PodMonitor only the operator knows the schema; tests/deploy holds it against what is read of it.
      grep WARN <<<"$said" | grep -v 'kind PodMonitor' && fail "$name: $said"
    done
  done
  .venv/bin/python -m pytest -q --no-header tests/deploy/test_kubernetes.py >"$built/said" 2>&1 || fail "$(cat "$built/said")"
  proved "base and overlays ($(cd deploy/kubernetes/overlays && echo *)) build, $(kubectl version --client 2>/dev/null | paste -sd ' ')"
  proved "all of it is valid, strictly, for Kubernetes $oldest and $newest; restricted Pod Security holds"
}

# --- the pods --------------------------------------------------------------------------------------

play() {
  local exports
  for script in build_image.sh dockerd.sh; do
    [ -x "$verify/$script" ] || fail "$script is missing: give its folder as VERIFY=…"
  done
  for tool in buildah podman debootstrap; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
  done
  [ "$(id -u)" = 0 ] || fail "full needs root: a Docker engine of its own is started"
  mkdir -p "$WORK"
  exports=$(LIMIT=900 "$verify/dockerd.sh" start 2>"$WORK/dockerd.out") || fail "no Docker engine: $(tail -3 "$WORK/dockerd.out")"
  trap '"$verify/dockerd.sh" stop >/dev/null 2>&1' EXIT
  eval "$exports"
  docker build --quiet --network host --tag keepalive:dev . >"$WORK/docker.out" 2>&1 ||
    fail "docker cannot build the image: see $WORK/docker.out"
  .venv/bin/python deploy/verify/kubernetes_pod.py "$WORK"
}

case ${1:-} in
quick) build ;;
full) build; play ;;
*) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
esac
