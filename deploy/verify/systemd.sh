#!/bin/bash
# Proves the units of deploy/systemd.
#   systemd.sh quick                    `systemd-analyze verify` is silent, and the exposure at most 1.5
#   systemd.sh full [bookworm|trixie]   that, and every promise under a booted systemd 252 and 257, beside an emulator
# Environment: VERIFY (the folder of systemd_boot.sh), BIN (.venv/bin), TMPDIR.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
VERIFY=${VERIFY:-$root/../shared/verify} BIN=${BIN:-$root/.venv/bin}
work=${TMPDIR:-/tmp}/keepalive-systemd
bar=1.5

missing() { echo "systemd.sh: $1" >&2; exit 1; }
need() { command -v "$1" >/dev/null || missing "$1 is missing; on Debian: apt install $2"; }

# systemd-analyze wants the program to be there: in a copy of the units /bin/true stands for it.
quick() {
  need systemd-analyze systemd
  local units said figure
  units=$(mktemp -d); trap 'rm -r "$units"' RETURN
  cp -r "$root/deploy/systemd/." "$units"
  sed -i -E 's,(=)[^ ]*/bin/keepalive ,\1/bin/true ,' "$units"/*.service "$units"/user/*.service
  for unit in keepalive.service keepalive@.service; do
    said=$(systemd-analyze verify "$units/$unit" 2>&1) || missing "verify of $unit failed: $said"
    [ -z "$said" ] || missing "verify of $unit is not silent: $said"
    figure=$(systemd-analyze security --offline=true "$units/$unit" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
    awk "BEGIN { exit !(\"$figure\" != \"\" && $figure + 0 <= $bar) }" || missing "exposure of $unit is $figure, over $bar"
    echo "  $unit: verify silent, exposure $figure of $bar"
  done
  said=$(XDG_RUNTIME_DIR=$units systemd-analyze --user verify "$units/user/keepalive.service" 2>&1) ||
    missing "verify of user/keepalive.service failed: $said"
  [ -z "$said" ] || missing "verify of user/keepalive.service is not silent: $said"
  echo "  user/keepalive.service: verify silent"
}

# What a user installs: the wheel of this tree and the locked wheels, for the guest's own Python.
wheels() {
  local suite=$1 version
  version=$(chroot "$work/$suite.base" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  rm -rf "$work/$suite.wheels"; mkdir "$work/$suite.wheels"
  "$BIN/python" -m pip download -qq --no-deps --require-hashes --only-binary=:all: --implementation=cp \
    --python-version="$version" --platform="manylinux_2_17_$(uname -m)" --platform="manylinux_2_28_$(uname -m)" \
    --dest "$work/$suite.wheels" -r "$root/requirements/run.txt"
  "$BIN/python" -m pip wheel -qq --no-deps --no-build-isolation --wheel-dir "$work/$suite.wheels" "$root"
}

# Installed as docs/operations/systemd.md says, without an index.
install_into() {
  local guest=$1 suite=$2 clean=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8)
  local pip=(/opt/keepalive/bin/pip --disable-pip-version-check install --quiet --no-index --no-deps)
  mkdir "$guest/opt/proofs"
  cp -r "$work/$suite.wheels" "$guest/opt/wheels"
  cp "$root/requirements/run.txt" "$guest/opt/wheels"
  cp -r "$root/deploy/systemd/." "$here"/systemd_*.py "$guest/opt/proofs"
  chroot "$guest" "${clean[@]}" python3 -m venv /opt/keepalive
  chroot "$guest" "${clean[@]}" "${pip[@]}" --require-hashes --find-links=/opt/wheels -r /opt/wheels/run.txt
  chroot "$guest" "${clean[@]}" bash -c "${pip[*]} /opt/wheels/cloudflare_keepalive-*.whl"
  chroot "$guest" ln -s /opt/keepalive/bin/keepalive /usr/local/bin/keepalive
  install -m 0644 "$root"/deploy/systemd/keepalive{,@}.service "$guest/etc/systemd/system"
}

full() {
  [ "$(id -u)" = 0 ] || missing "booting a systemd needs root"
  [ -x "$VERIFY/systemd_boot.sh" ] || missing "$VERIFY/systemd_boot.sh is missing; set VERIFY to the folder that has it"
  [ -x "$BIN/python" ] || missing "$BIN/python is missing; run make venv"
  need systemd-nspawn systemd-container
  need debootstrap debootstrap
  mkdir -p "$work"
  for suite in "$@"; do
    [ -e "$work/$suite.made" ] || {
      rm -rf "$work/$suite.base"
      "$VERIFY/systemd_boot.sh" make "$suite" "$work/$suite.base" >"$work/$suite.log" 2>&1 ||
        missing "debootstrap of $suite failed; see $work/$suite.log"
      # SocketBindDeny= needs libbpf, which a whole Debian has; where apt gets no answer its proof says so.
      chroot "$work/$suite.base" sh -c 'apt-get update && apt-get install -y --no-install-recommends libbpf1' \
        >>"$work/$suite.log" 2>&1 || true
      touch "$work/$suite.made"
    }
    wheels "$suite"
    rm -rf "$work/$suite.guest"
    cp -a "$work/$suite.base" "$work/$suite.guest"
    install_into "$work/$suite.guest" "$suite"
    echo "exec python3 /opt/proofs/systemd_guest.py /opt/proofs" >"$work/$suite.commands"
    echo "$suite:"
    LIMIT=${LIMIT:-400} "$VERIFY/systemd_boot.sh" run "$work/$suite.guest" "$work/$suite.commands" ||
      missing "not everything is proven under $suite; the guest is left in $work/$suite.guest"
    rm -rf "$work/$suite.guest"
  done
}

case ${1:-} in
quick) quick ;;
full) shift; quick; [ $# -gt 0 ] || set -- bookworm trixie; full "$@" ;;
*) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
esac
