#!/usr/bin/env bash
# Proves the rules, the alerts and the dashboard.
#   prometheus.sh quick   promtool: the configuration, the rules, and every unit test of them
#   prometheus.sh full    that, the dashboard against Grafana's published schema, and a real Prometheus that scrapes a real
#                         daemon while its configuration, its Cloudflare and at last itself are broken
# full needs npm besides. Where Debian's prometheus is not installed, it is unpacked into a folder of the temporary
# directory. Prints one line for each proof.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=${TMPDIR:-/tmp}/keepalive-prometheus
schema=@grafana/schema@13.2.3 compiler=typescript@5.9.3

proved() { printf 'prometheus: %s\n' "$*"; }
fail() { printf 'prometheus: %s\n' "$*" >&2; exit 1; }

# Puts prometheus and promtool onto the path.
engine() {
  mkdir -p "$work"
  export PATH="$PATH:$work/package/usr/bin"
  command -v prometheus >/dev/null && command -v promtool >/dev/null && return
  command -v apt-get >/dev/null || fail "prometheus and promtool are missing; on Debian: apt-get install prometheus"
  (cd "$work" && apt-get download prometheus && dpkg -x prometheus_*.deb package) >"$work/download.out" 2>&1 ||
    fail "prometheus is missing, and apt-get download cannot get it; try: apt-get update && apt-get install prometheus"
  command -v promtool >/dev/null || fail "Debian's package prometheus holds no promtool: see $work/download.out"
}

quick() {
  local said
  said=$(promtool check config --lint-fatal deploy/prometheus/prometheus.yaml 2>&1) || fail "$said"
  proved "promtool accepts prometheus.yaml with rules.yaml and alerts.yaml"
  said=$(promtool test rules deploy/prometheus/rules_test.yaml deploy/prometheus/alerts_test.yaml 2>&1) || fail "$said"
  proved "promtool test rules: $(grep -c 'alert:' deploy/prometheus/alerts.yaml) alerts in" \
    "$(grep -c '^  - name:' deploy/prometheus/alerts_test.yaml) cases," \
    "$(grep -c 'record:' deploy/prometheus/rules.yaml) recording rules in" \
    "$(grep -c '^  - name:' deploy/prometheus/rules_test.yaml)"
}

# The schema is published as types of TypeScript: the dashboard is made a constant of that type.
dashboard() {
  local said
  command -v npm >/dev/null || fail "npm is missing, and with it Grafana's schema; on Debian: apt-get install npm"
  npm install --silent --no-audit --no-fund --prefix "$work" "$schema" "$compiler" >"$work/npm.out" 2>&1 ||
    fail "npm cannot get $schema: see $work/npm.out"
  .venv/bin/python deploy/verify/prometheus_dashboard.py deploy/grafana/keepalive.json >"$work/dashboard.ts"
  said=$(cd "$work" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --target es2022 \
    --module nodenext --moduleResolution nodenext dashboard.ts) || fail "the dashboard is none to Grafana: $said"
  proved "the dashboard has the types of $schema, each panel those of its kind"
}

case ${1:-} in
  quick) engine; quick ;;
  full) engine; quick; dashboard; .venv/bin/python deploy/verify/prometheus_live.py "$work/live" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
