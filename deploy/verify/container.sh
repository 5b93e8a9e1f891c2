#!/usr/bin/env bash
# Proves the Dockerfile and the compose files.
#   container.sh quick    hadolint
#   container.sh full     the image, built and run by buildah and podman, then by a Docker engine with compose
# full needs root, and $VERIFY: the folder of build_image.sh and dockerd.sh. Prints one line for each proof.
# shellcheck disable=SC2016  # ${…} in single quotes is for the inner shell
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export WORK=${WORK:-${TMPDIR:-/tmp}/keepalive-images}
verify=${VERIFY:-../shared/verify}
port=18976

proved() { printf 'container: %s\n' "$*"; }
fail() { printf 'container: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is missing: apt-get install $2"; }
below() { awk -v found="$1" -v bar="$2" 'BEGIN { exit !(found < bar) }' || fail "$3: $1, to be below $2"; }
now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f", to - from }'; }
# Waits until a command succeeds, at most so many seconds.
within() {
  local seconds=$1 from; shift; from=$(now)
  until "$@" >/dev/null 2>&1; do
    awk -v age="$(since "$from")" -v most="$seconds" 'BEGIN { exit !(age < most) }' || return 1
    sleep 0.1
  done
}

lint() {
  .venv/bin/hadolint Dockerfile || fail "hadolint found faults in the Dockerfile"
  proved "hadolint has nothing to say about the Dockerfile"
}

# --- what full needs and stops ---------------------------------------------------------------------

engine=
undo=()
end() {
  for ((i = ${#undo[@]} - 1; i >= 0; i--)); do eval "${undo[i]}" >/dev/null 2>&1 || true; done
  [ -z "$engine" ] || "$verify/dockerd.sh" stop >/dev/null 2>&1 || true
}

emulate() {
  .venv/bin/keepalive emulator --port "$port" >"$WORK/emulator.log" 2>&1 &
  undo+=("kill $!")
  within 10 bash -c "</dev/tcp/127.0.0.1/$port" || fail "the emulator does not listen on port $port"
}

api=(-e "CLOUDFLARE_BASE_URL=http://127.0.0.1:$port/client/v4" -e CLOUDFLARE_API_TOKEN=emulated-token
  -e CLOUDFLARE_ACCOUNT_ID=0123456789abcdef0123456789abcdef -e KEEPALIVE_SCRIPTS=api,web)

# --- buildah and podman ----------------------------------------------------------------------------

by_podman() {
  local said
  "$verify/build_image.sh" base >"$WORK/base.out" 2>&1 || fail "no base image: see $WORK/base.out"
  "$verify/build_image.sh" build . >"$WORK/build.out" 2>&1 || fail "buildah cannot build it: see $WORK/build.out"
  said=$("$verify/build_image.sh" run "${api[@]}" 2>&1) || fail "podman: $said"
  grep -q '^uid in the container: 65532$' <<<"$said" || fail "podman: not the user 65532: $said"
  grep -q '^healthcheck: rc=0' <<<"$said" || fail "podman: not healthy: $said"
  grep -q '^after SIGTERM: exit code 0' <<<"$said" || fail "podman: SIGTERM is no clean end: $said"
  proved "podman: built, read-only, user 65532, no capabilities; HEALTHCHECK 0, SIGTERM ends it with 0"
}

# --- a Docker engine -------------------------------------------------------------------------------

state() { docker inspect --format '{{.State.Health.Status}}' "$1"; }
healthy() { [ "$(state "$1")" = healthy ]; }

by_docker() {
  local from took bytes code
  docker build --quiet --network host --build-arg VERSION=verify --tag keepalive:dev . >"$WORK/docker.out" 2>&1 ||
    fail "docker cannot build it: see $WORK/docker.out"
  bytes=$(($(docker image inspect --format '{{.Size}}' keepalive:dev) - $(docker image inspect --format '{{.Size}}' python:3.13-slim)))
  took=$(awk -v bytes="$bytes" 'BEGIN { printf "%.0f", bytes / 1e6 }')
  below "$took" 120 "megabytes beyond the base image"
  proved "docker: built, $took MB beyond the base image"

  undo+=("docker rm --force keepalive-verify")
  from=$(now)
  docker run --detach --name keepalive-verify --network host --read-only --cap-drop all \
    --security-opt no-new-privileges "${api[@]}" keepalive:dev >/dev/null
  within 10 healthy keepalive-verify || fail "docker: $(state keepalive-verify) after 10 s: $(docker logs keepalive-verify 2>&1)"
  took=$(since "$from")
  below "$took" 10 "seconds until healthy"
  [ "$(docker exec keepalive-verify id -u)" = 65532 ] || fail "docker: not the user 65532"
  docker exec keepalive-verify touch /tmp/here 2>/dev/null && fail "docker: the root file system can be written"
  docker exec keepalive-verify keepalive status >"$WORK/status.out" 2>&1 || fail "docker: $(cat "$WORK/status.out")"
  proved "docker: read-only, user 65532, healthy $took s after docker run"

  from=$(now)
  docker stop keepalive-verify >/dev/null
  took=$(since "$from")
  code=$(docker inspect --format '{{.State.ExitCode}}' keepalive-verify)
  [ "$code" = 0 ] || fail "docker stop: exit code $code"
  below "$took" 5 "seconds of docker stop"
  proved "docker: docker stop ends it with 0 in $took s"
}

# --- compose ---------------------------------------------------------------------------------------

# The engine of the proof has no bridge: the emulator gets a loopback of its own, which the daemon shares.
stage() {
  stage=$WORK/stage
  rm -rf "$stage"
  mkdir -p "$stage/kubernetes/overlays"
  cp -r deploy/docker "$stage/docker"
  cp -r deploy/kubernetes/overlays/sidecar "$stage/kubernetes/overlays/sidecar"
  install -m 0400 -o 65532 deploy/docker/trial.token "$stage/docker/trial.token"
  cat >"$stage/alone.yaml" <<'YAML'
services:
  emulator: {network_mode: none}
  keepalive: {build: !reset null}
  consumer: {environment: {LEASE_SECONDS: "6"}}
YAML
}

compose() {
  docker compose --project-directory "$stage/docker" --file "$stage/docker/compose.yaml" \
    --file "$stage/docker/trial.yaml" --file "$stage/alone.yaml" --profile sidecar "$@"
}

says() { compose --ansi never logs --no-color --no-log-prefix "$1" 2>/dev/null | grep "$2" >/dev/null; }
ask() { compose exec -T keepalive "$@" 2>&1; }

by_compose() {
  local from took said code
  docker compose --file deploy/docker/compose.yaml --profile sidecar config --quiet || fail "compose.yaml has faults"
  stage
  undo+=("compose down --volumes --timeout 10")
  from=$(now)
  compose up --detach --wait keepalive >"$WORK/compose.out" 2>&1 || fail "compose up: $(cat "$WORK/compose.out"; compose logs)"
  proved "compose: up and healthy after $(since "$from") s, its token from a secret that is a file"
  said=$(ask keepalive status --wait 10s) || fail "compose: $said"
  proved "compose: keepalive status says: $(head -1 <<<"$said")"

  compose up --detach consumer >>"$WORK/compose.out" 2>&1 || fail "compose up consumer: $(cat "$WORK/compose.out")"
  within 15 says consumer 'web is eligible' || fail "the consumer's lease: $(compose logs consumer)"
  within 15 says consumer 'renewed the lease' || fail "the lease is not renewed: $(compose logs consumer)"
  proved "compose: the consumer, another user without a network, holds its lease by the socket and renews it"

  printf 'another-token\n' >"$stage/docker/trial.token"  # in place: the mounted file is the same inode
  from=$(now)
  within 60 says keepalive 'credential.denied\|breaker.opened' || fail "a rotated token is not noticed: $(compose logs keepalive)"
  took=$(since "$from")
  printf 'emulated-token\n' >"$stage/docker/trial.token"
  said=$(ask keepalive status --wait 30s) || fail "after the token was put back: $said"
  proved "compose: a token rotated in place was in use after at most $took s, without a restart"

  sed -i 's/^scripts = .*/scripts = ["api"]/' "$stage/docker/config/keepalive.toml"
  said=$(ask keepalive reload) || fail "reload: $said"
  proved "compose: an edited configuration is taken over by keepalive reload: $(head -1 <<<"$said")"

  compose stop consumer >/dev/null 2>&1
  says consumer 'gave the lease back: 204' || fail "the lease is not given back: $(compose logs consumer)"
  from=$(now)
  compose stop keepalive >/dev/null 2>&1
  took=$(since "$from")
  code=$(docker inspect --format '{{.State.ExitCode}}' "$(compose ps --all --quiet keepalive)")
  [ "$code" = 0 ] || fail "compose stop: exit code $code"
  proved "compose: the consumer gives its lease back; keepalive stops with 0 in $took s"
}

case ${1:-} in
quick) lint ;;
full)
  lint
  for script in build_image.sh dockerd.sh; do
    [ -x "$verify/$script" ] || fail "$script is missing: give its folder as VERIFY=…"
  done
  need buildah buildah; need podman podman; need crun crun; need fuse-overlayfs fuse-overlayfs; need debootstrap debootstrap
  [ "$(id -u)" = 0 ] || fail "full needs root: a Docker engine of its own is started"
  mkdir -p "$WORK"
  trap end EXIT
  emulate
  by_podman
  exports=$(LIMIT=900 "$verify/dockerd.sh" start 2>"$WORK/dockerd.out") || fail "no Docker engine: $(tail -3 "$WORK/dockerd.out")"
  engine=running
  eval "$exports"
  by_docker
  by_compose
  ;;
*) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
esac
