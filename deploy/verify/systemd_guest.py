"""Proves the units under a booted systemd: one line per proof, and an end at the first that fails.

Usage: systemd_guest.py FOLDER - as root, with a folder that has deploy/systemd's files and
`systemd_cloudflare.py`. It changes the machine that it runs on: never run it on one that you want to keep.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
HELD = 30
"""Targets of the one daemon; a reload makes them one more."""

PROGRAM = "/usr/local/bin/keepalive"
PYTHON = "/usr/bin/python3"
UNITS = Path("/etc/systemd/system")
ETC = Path("/etc/keepalive")
ACCOUNT = Path("/run/cloudflare.json")
UNIT = "keepalive.service"

WATCHDOG_BAR = 30.0
"""Seconds that may pass from a SIGSTOP to the first heartbeat of the next process."""

STOP_BAR = 5.0
"""Seconds that a stop may take."""

EXPOSURE_BAR = 1.5

PRIORITIES = {"debug": "7", "info": "6", "warning": "4", "error": "3"}

CONFIG = """\
[cloudflare]
base_url = "http://127.0.0.1:8976/client/v4"
[credentials.prod]
api_token_credential = "{credential}"
[[targets]]
account_id = "{account_id}"
scripts = [{scripts}]
[log]
level = "debug"
{more}
"""


class DisprovedError(Exception):
    """A promise that is not kept."""


def expect(kept: object, promise: str) -> None:
    """Go on where a promise is kept.

    Raises:
        DisprovedError: It is not.
    """
    if not kept:
        raise DisprovedError(promise)


# --- the machine ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    code: int
    output: str
    seconds: float


def run(*command: str, given: str = "") -> Ran:
    """Run a command to its end; its two outputs are one."""
    began = time.monotonic()
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Ran(done.returncode, done.stdout.strip(), time.monotonic() - began)


def must(*command: str, given: str = "") -> Ran:
    """Run a command that has to end with 0."""
    ran = run(*command, given=given)
    expect(ran.code == 0, f"`{' '.join(command)}` ended with {ran.code}: {ran.output}")
    return ran


def show(key: str, unit: str = UNIT) -> str:
    """A property of a unit, as systemd has it."""
    return must("systemctl", "show", "--value", f"--property={key}", unit).output


def status(unit: str = UNIT) -> str:
    """What `systemctl status` says that a unit says of itself."""
    found = re.search(r"^ *Status: \"(.*)\"$", run("systemctl", "status", unit).output, re.MULTILINE)
    return found[1] if found else ""


def until(seconds: float, question: Callable[[], object], promise: str) -> float:
    """Ask until the answer is yes, and say after how many seconds that was."""
    began = time.monotonic()
    while not question():
        expect(time.monotonic() - began < seconds, f"{promise}, within {seconds:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


def journal(unit: str = UNIT, since: float = 0.0) -> Iterator[dict[str, str]]:
    """The journal's records of a unit since a wall-clock moment."""
    text = must("journalctl", f"--unit={unit}", f"--since=@{since:.6f}", "--output=json", "--all").output
    yield from (json.loads(line) for line in text.splitlines() if line.startswith("{"))


def events(name: str, since: float, unit: str = UNIT) -> list[dict[str, object]]:
    """The log lines of one event."""
    lines = (str(record.get("MESSAGE", "")) for record in journal(unit, since))
    return [line for line in map(logged, lines) if line.get("event") == name]


def logged(message: str) -> dict[str, object]:
    """A log line as it was written; empty for everything else in a journal."""
    with suppress(ValueError):
        line = json.loads(message)
        if isinstance(line, dict):
            return line
    return {}


# --- Cloudflare, by its own account -------------------------------------------------------------------


def start_cloudflare() -> None:
    """Start the emulator beside the daemon."""
    must(
        "systemd-run", "--quiet", "--unit=cloudflare", "/opt/keepalive/bin/python",
        f"{sys.argv[1]}/systemd_cloudflare.py", str(ACCOUNT),
    )  # fmt: skip
    until(10, lambda: run("systemctl", "is-active", "cloudflare").code == 0 and ACCOUNT.exists(), "it serves")


def stop_cloudflare() -> None:
    """Stop it: an outage."""
    must("systemctl", "stop", "cloudflare")
    ACCOUNT.unlink()


def heartbeats(user: str = "one", since: float = 0.0) -> list[float]:
    """When Cloudflare accepted a heartbeat of a user, in seconds since 1970."""
    times: list[float] = json.loads(ACCOUNT.read_text())["heartbeats"].get(user, [])
    return [at for at in times if at > since]


def lapses(user: str = "one") -> int:
    """How often a target of a user lapsed since Cloudflare began."""
    counted: dict[str, int] = json.loads(ACCOUNT.read_text())["lapses"]
    return sum(count for place, count in counted.items() if place.startswith(f"{user}/"))


# --- the daemon ---------------------------------------------------------------------------------------


def configure(
    name: str = "keepalive", *, credential: str = "cloudflare-token", held: int = HELD, more: str = ""
) -> None:
    """Write a configuration for so many targets."""
    scripts = ", ".join(f'"script{number:02}"' for number in range(held))
    text = CONFIG.format(credential=credential, account_id=ACCOUNT_ID, scripts=scripts, more=more)
    ETC.mkdir(exist_ok=True)
    (ETC / f"{name}.toml").write_text(text)


def keep_secret(file: Path, text: str) -> None:
    """Write a file that only root can read."""
    must("install", "-d", "-m", "0700", str(file.parent))
    file.touch(mode=0o600)
    file.write_text(text)


def all_eligible(count: int, unit: str = UNIT) -> Callable[[], bool]:
    """Ask whether systemd was told that all are eligible."""
    return lambda: status(unit).startswith(f"{count} eligible, budget ")


# --- the proofs ---------------------------------------------------------------------------------------


def units_are_clean() -> str:
    """There is nothing to say against the units, and they are sealed."""
    files = [UNITS / "keepalive.service", UNITS / "keepalive@.service"]
    for file in files:
        ran = must("systemd-analyze", "verify", str(file))
        expect(not ran.output, f"verify is silent; it said: {ran.output}")
    seen = [must("systemd-analyze", "security", "--offline=true", str(file)).output for file in files]
    exposures = [
        float(found[1]) for text in seen if (found := re.search(r"exposure level.*: ([0-9.]+)", text))
    ]
    expect(len(exposures) == len(files), "security gives each a figure")
    expect(max(exposures) <= EXPOSURE_BAR, f"exposure {max(exposures)} is at most {EXPOSURE_BAR}")
    version = must("systemctl", "--version").output.split()[1]
    return f"systemd {version}, exposure {', '.join(map(str, exposures))} of {EXPOSURE_BAR}"


def starts() -> str:
    """`systemctl start` returns once the daemon is ready."""
    ran = must("systemctl", "start", UNIT)
    expect(show("ActiveState") == "active", "it is active after the start")
    expect(show("StatusText"), "READY came with a status")
    eligible = until(10, all_eligible(HELD), f"all {HELD} are eligible")
    return f"READY after {ran.seconds:.1f} s, all {HELD} eligible {eligible:.1f} s later"


def is_confined() -> str:
    """The daemon is nobody, may nothing, and shows its token nowhere."""
    process = Path("/proc") / show("MainPID")
    facts = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    uid = int(facts["Uid"].split()[0])
    expect(61184 <= uid <= 65519, f"user {uid} is a dynamic one")
    expect(facts["NoNewPrivs"] == "1", "it gets no new privileges")
    expect(facts["Seccomp"] == "2", "system calls are filtered")
    expect(int(facts["CapBnd"], 16) == 0, "it has no capability to gain")
    expect(b"token-one" not in (process / "environ").read_bytes(), "the token is not in the environment")
    expect(b"NOTIFY_SOCKET" in (process / "environ").read_bytes(), "the environment is the one of the start")
    secret = process / "root" / "run/credentials" / UNIT / "cloudflare-token"
    expect(secret.read_text().strip() == "token-one", "the credential is loaded")
    expect(secret.stat().st_mode & 0o077 in (0, 0o040), f"its mode is {secret.stat().st_mode:o}")
    expect(not any("token-one" in str(record) for record in journal()), "the token is not in the journal")
    modes = [Path(f"/var/lib/private/keepalive{more}").stat().st_mode & 0o777 for more in ("", "/state.db")]
    expect(modes == [0o700, 0o600], f"the state is private, {[f'{mode:o}' for mode in modes]}")
    return f"user {uid}, no capabilities, seccomp, credential loaded, state 0700"


def says_how_it_stands() -> str:
    """`systemctl status` shows the counts, and the commands agree."""
    told = status()
    expect(re.fullmatch(rf"{HELD} eligible, budget \d+ %", told), f"it reads {told!r}")
    must(PROGRAM, "health")
    must(PROGRAM, "health", "--ready")
    listed = json.loads(must(PROGRAM, "status", "--json").output)
    expect(listed["schema"] == 1, "status --json is of schema 1")
    expect(run("su", "-s", "/bin/sh", "nobody", "-c", f"{PROGRAM} status").code == 3, "others find no daemon")
    return f'Status: "{told}"'


def takes_a_good_reload() -> str:
    """A reload puts the new configuration in force in the same process."""
    pid = show("MainPID")
    configure(held=HELD + 1, more='[http]\nlisten = "127.0.0.1:9786"')
    ran = must("systemctl", "reload", UNIT)
    until(5, all_eligible(HELD + 1), "the new target is eligible")
    expect(show("MainPID") == pid, "it is the same process")
    return f"{HELD} to {HELD + 1} targets in {ran.seconds:.1f} s"


def refuses_a_bad_reload() -> str:
    """A configuration with faults fails the reload, says why, and changes nothing."""
    pid, good, before = show("MainPID"), (ETC / "keepalive.toml").read_text(), time.time()
    (ETC / "keepalive.toml").write_text(good.replace("api_token_credential", "api_tokn_credential"))
    ran = run("systemctl", "reload", UNIT)
    (ETC / "keepalive.toml").write_text(good)
    expect(ran.code != 0, "`systemctl reload` fails")
    until(2, lambda: events("config.rejected", before), "the log says that it was refused")
    told = [str(record.get("MESSAGE")) for record in journal(since=before)]
    expect(any("api_tokn_credential" in line for line in told), "the journal names the key")
    expect((show("ActiveState"), show("MainPID")) == ("active", pid), "the same process goes on")
    until(2, all_eligible(HELD + 1), "all are eligible as before")
    return f"exit {ran.code}, the old configuration stays"


def survives_a_stop_of_its_process() -> str:
    """A daemon that hangs is ended by the watchdog, and the next one renews everybody in time."""
    pid, restarts = show("MainPID"), int(show("NRestarts"))
    before = time.time()
    must("kill", "-STOP", pid)
    stopped = time.time()
    until(WATCHDOG_BAR + 10, lambda: show("MainPID") not in ("0", pid), "systemd starts another process")
    until(10, lambda: heartbeats(since=stopped + 1), "the next process sends a heartbeat")
    first = heartbeats(since=stopped + 1)[0] - stopped
    expect(first < WATCHDOG_BAR, f"the first heartbeat came after {first:.1f} s")
    until(45, lambda: len(heartbeats(since=stopped + 1)) >= 2 * (HELD + 1), "everybody was renewed")
    expect(lapses() == 0, f"{lapses()} lapses")
    expect(int(show("NRestarts")) == restarts + 1, "it was restarted once")
    told = "\n".join(str(record.get("MESSAGE")) for record in journal(since=before))
    expect("Watchdog timeout" in told, "the watchdog did it")
    expect("Fatal Python error: Aborted" in told, "the journal says where it hung")
    return f"first heartbeat {first:.1f} s after SIGSTOP, {lapses()} lapses"


def survives_a_kill() -> str:
    """A process that dies is followed by another one that goes on with its leases."""
    pid = show("MainPID")
    must("kill", "-KILL", pid)
    killed = time.time()
    until(10, lambda: heartbeats(since=killed), "the next process sends a heartbeat")
    first = heartbeats(since=killed)[0] - killed
    restored = until(5, lambda: events("state.restored", killed), "it goes on with its state")
    until(10 + restored, all_eligible(HELD + 1), "all are eligible")
    expect(lapses() == 0, f"{lapses()} lapses")
    return f"first heartbeat {first:.1f} s after SIGKILL, state restored, {lapses()} lapses"


def restarts_for_a_rotated_token() -> str:
    """A restart brings a new token into force, and lapses nobody."""
    keep_secret(Path("/etc/credstore/cloudflare-token"), "token-two\n")
    ran = must("systemctl", "restart", UNIT)
    until(10, all_eligible(HELD + 1), "all are eligible")
    expect(lapses() == 0, f"{lapses()} lapses")
    return f"{ran.seconds:.1f} s, {lapses()} lapses"


def listens_where_it_may() -> str:
    """Probes answer on the port of the unit; where systemd can hold it, no other port can be opened."""
    url = "http://127.0.0.1:9786/healthz"
    fetch = f"import urllib.request as u; print(u.urlopen({url!r}).status)"
    expect(must(PYTHON, "-c", fetch).output == "200", "healthz answers on TCP")
    before = time.time()
    configure(held=HELD + 1, more='[http]\nlisten = "127.0.0.1:9787"')
    must("systemctl", "restart", UNIT)
    until(5, all_eligible(HELD + 1), "heartbeats go on")
    refused = events("control.failed", before)
    configure(held=HELD + 1, more='[http]\nlisten = "127.0.0.1:9786"')
    must("systemctl", "restart", UNIT)
    bind = "import socket; socket.socket().bind(('127.0.0.1', 9787))"
    if run("systemd-run", "--quiet", "--wait", "--property=SocketBindDeny=any", PYTHON, "-c", bind).code == 0:
        return "healthz answers on 9786; this systemd cannot refuse 9787 (no BPF framework, or no libbpf)"
    expect(refused, "9787 is refused")
    expect("9787" in str(refused[0]["address"]), "the log names the address")
    return "healthz answers on 9786; 9787 is refused, heartbeats go on"


def stops() -> str:
    """A stop drains and ends well, even while nobody answers and where a drop-in allows a second only."""
    drop_in = UNITS / "keepalive.service.d" / "hurry.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nTimeoutStopSec=1s\n")
    must("systemctl", "daemon-reload")
    before = time.time()
    calm = must("systemctl", "stop", UNIT).seconds
    must("systemctl", "start", UNIT)
    until(10, all_eligible(HELD + 1), "all are eligible")
    must("systemctl", "kill", "--signal=STOP", "cloudflare")
    time.sleep(3)  # heartbeats are in flight
    ran = must("systemctl", "stop", UNIT)
    must("systemctl", "kill", "--signal=CONT", "cloudflare")
    drop_in.unlink()
    must("systemctl", "daemon-reload")
    expect(ran.seconds <= STOP_BAR, f"it took {ran.seconds:.1f} s")
    expect((show("ActiveState"), show("Result")) == ("inactive", "success"), f"it ended: {show('Result')}")
    expect(show("ExecMainStatus") == "0", "it ended with 0")
    summaries = events("eligibility.summary", before)
    expect(summaries and summaries[-1]["final"], "the last line is the last summary")
    return f"{calm:.1f} s; {ran.seconds:.1f} s while nobody answers and TimeoutStopSec=1s; exit 0"


def stays_down_for_a_configuration_fault() -> str:
    """A start with a faulty configuration fails once, with 78."""
    good = (ETC / "keepalive.toml").read_text()
    (ETC / "keepalive.toml").write_text(good.replace("[[targets]]", "[[target]]"))
    ran = run("systemctl", "start", UNIT)
    time.sleep(3)
    (ETC / "keepalive.toml").write_text(good)
    expect(ran.code != 0, "`systemctl start` fails")
    expect((show("ActiveState"), show("ExecMainStatus")) == ("failed", "78"), "it failed with 78")
    expect(show("NRestarts") == "0", "it was not started again")
    return "exit 78, no restart in 3 s"


def names_a_token_that_is_missing() -> str:
    """Without the token the unit is started, so that the daemon can say what is missing."""
    before = time.time()
    Path("/etc/credstore/cloudflare-token").rename("/etc/credstore/elsewhere")
    run("systemctl", "start", UNIT)
    Path("/etc/credstore/elsewhere").rename("/etc/credstore/cloudflare-token")
    expect(show("ExecMainStatus") == "78", f"it failed with {show('ExecMainStatus')}")
    told = [str(record.get("MESSAGE")) for record in journal(since=before)]
    [line] = [line for line in told if "api_token_credential" in line]
    return line


def starts_in_an_outage() -> str:
    """An outage neither times out a start nor starves the watchdog, not even without a state."""
    stop_cloudflare()
    must("systemctl", "reset-failed", UNIT)
    must("systemctl", "clean", "--what=state", UNIT)
    expect(not Path("/var/lib/private/keepalive").exists(), "the state is gone")
    ran = must("systemctl", "start", UNIT)
    pid = show("MainPID")
    time.sleep(15)  # longer than WatchdogSec
    told = status()
    expect((show("ActiveState"), show("MainPID")) == ("active", pid), "it is up and the same")
    expect("eligible" not in told, f"nobody is eligible, it reads {told!r}")
    must(PROGRAM, "health")
    expect(run(PROGRAM, "health", "--ready").code == 1, "it is healthy, and not ready")
    start_cloudflare()
    after = until(15, all_eligible(HELD + 1), "all are eligible once Cloudflare answers")
    return f'READY after {ran.seconds:.1f} s, 15 s later "{told}", all eligible {after:.1f} s after its end'


def runs_an_instance() -> str:
    """An instance has its own configuration, token, state, socket and user."""
    unit = "keepalive@eu.service"
    configure("eu", held=3, more='[control]\nsocket = "/run/keepalive-eu/keepalive.sock"')
    keep_secret(Path("/etc/credstore/cloudflare-token-eu"), "token-eu\n")
    must("systemctl", "start", unit)
    until(10, all_eligible(3, unit), "its three targets are eligible")
    users = [Path(f"/proc/{show('MainPID', one)}").stat().st_uid for one in (UNIT, unit)]
    expect(users[0] != users[1], "it is another user")
    must(PROGRAM, "health", "--config", str(ETC / "eu.toml"))
    must("systemctl", "reload", unit)
    must("systemctl", "stop", unit)
    must(PROGRAM, "health")
    return f"users {users[0]} and {users[1]}; the other one goes on when it stops"


def opens_a_sealed_token() -> str:
    """A token that was encrypted for this machine is loaded in the clear."""
    unit = "keepalive@sealed.service"
    sealed = Path("/etc/credstore.encrypted/cloudflare-token-encrypted-sealed")
    must("install", "-d", "-m", "0700", str(sealed.parent))
    must(
        "systemd-creds",
        "encrypt",
        "--name=cloudflare-token-encrypted",
        "-",
        str(sealed),
        given="token-sealed",
    )
    expect("token-sealed" not in sealed.read_text(), "the file does not show the token")
    more = '[control]\nsocket = "/run/keepalive-sealed/keepalive.sock"'
    configure("sealed", credential="cloudflare-token-encrypted", held=2, more=more)
    must("systemctl", "start", unit)
    until(10, all_eligible(2, unit), "its targets are eligible")
    must("systemctl", "stop", unit)
    return "systemd-creds encrypt, LoadCredentialEncrypted, 2 eligible"


def lets_a_group_in() -> str:
    """A group may use the control socket where a drop-in and the configuration say so."""
    must("groupadd", "--system", "keepalive-ops")
    must("useradd", "--no-create-home", "--groups=keepalive-ops", "lookout")
    drop_in = UNITS / "keepalive.service.d" / "group.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nGroup=keepalive-ops\nRuntimeDirectoryMode=0750\n")
    configure(held=HELD + 1, more='[control]\nmode = "0660"')
    must("systemctl", "daemon-reload")
    must("systemctl", "restart", UNIT)
    until(10, all_eligible(HELD + 1), "all are eligible")
    must("su", "-s", "/bin/sh", "lookout", "-c", f"{PROGRAM} status --wait 5s")
    expect(run("su", "-s", "/bin/sh", "nobody", "-c", f"{PROGRAM} status").code == 3, "others find no daemon")
    return "its members read the status, others find no daemon"


def waits_longer_each_time() -> str:
    """The drop-in for systemd 254 and later is understood there."""
    version = int(must("systemctl", "--version").output.split()[1].split(".")[0])
    if version < 254:
        return f"systemd {version} does not know it: not installed"
    drop_in = UNITS / "keepalive.service.d" / "backoff.conf"
    drop_in.write_text((Path(sys.argv[1]) / "backoff.conf").read_text())
    must("systemctl", "daemon-reload")
    ran = must("systemd-analyze", "verify", str(UNITS / UNIT))
    expect(not ran.output, f"verify is silent; it said: {ran.output}")
    waits = []
    for _ in range(4):
        pid, began = show("MainPID"), time.monotonic()
        must("kill", "-KILL", pid)
        until(15, lambda pid=pid: show("MainPID") not in ("0", pid), "it is started again")  # type: ignore[misc]
        waits.append(time.monotonic() - began)
    expect(waits[-1] > 2 * waits[0], f"the waits grow: {waits}")
    return "after " + ", ".join(f"{wait:.1f}" for wait in waits) + " s"


def runs_for_a_user() -> str:
    """The unit of one user runs under that user's manager."""
    must("useradd", "--create-home", "laptop")
    home = Path("/home/laptop")
    uid = home.stat().st_uid
    config = home / ".config/keepalive/keepalive.toml"
    for file in (config, home / ".config/systemd/user/keepalive.service", home / ".local/bin/keepalive"):
        file.parent.mkdir(parents=True, exist_ok=True)
    (home / ".local/bin/keepalive").symlink_to(PROGRAM)
    (home / ".config/systemd/user/keepalive.service").write_text(
        (Path(sys.argv[1]) / "user" / UNIT).read_text()
    )
    configure("laptop", held=2)
    text = (ETC / "laptop.toml").read_text()
    config.write_text(
        text.replace('api_token_credential = "cloudflare-token"', 'api_token_file = "prod.token"')
    )
    keep_secret(config.parent / "prod.token", "token-eu\n")
    must("chown", "-R", "laptop:laptop", str(home))
    must("systemctl", "start", f"user@{uid}.service")  # what a log-in does

    def as_user(*command: str) -> Ran:
        variables = (f"XDG_RUNTIME_DIR=/run/user/{uid}", f"HOME={home}")
        return run(
            "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "env", *variables, *command
        )

    verified = as_user("systemd-analyze", "--user", "verify", f"{home}/.config/systemd/user/{UNIT}")
    expect((verified.code, verified.output) == (0, ""), f"verify is silent; it said: {verified.output}")
    started = as_user("systemctl", "--user", "enable", "--now", UNIT)
    expect(
        started.code == 0,
        f"it starts: {started.output} {as_user('systemctl', '--user', 'status', UNIT).output}",
    )
    until(
        10,
        lambda: "2 eligible, budget" in as_user("systemctl", "--user", "status", UNIT).output,
        "it is well",
    )
    reloaded = as_user("systemctl", "--user", "reload", UNIT)
    expect(reloaded.code == 0, f"it reloads: {reloaded.output}")
    asked = as_user(f"{home}/.local/bin/keepalive", "status")
    expect(asked.code == 0, f"`keepalive status` finds it: {asked.output}")
    expect((home / ".local/state/keepalive/state.db").exists(), "its state is in the user's home")
    stopped = as_user("systemctl", "--user", "stop", UNIT)
    expect(stopped.code == 0 and stopped.seconds < STOP_BAR, f"it stops: {stopped.output}")
    return f"READY after {started.seconds:.1f} s, reload and status well, stopped in {stopped.seconds:.1f} s"


def has_priorities_in_the_journal() -> str:
    """Every log line has the priority of its level."""
    counts: dict[str, int] = {}
    for record in journal():
        level = str(logged(str(record.get("MESSAGE", ""))).get("level", ""))
        if level:
            expect(record["PRIORITY"] == PRIORITIES[level], f"{level} has priority {record['PRIORITY']}")
            counts[level] = counts.get(level, 0) + 1
    expect(counts.keys() == PRIORITIES.keys(), f"all levels were seen: {counts}")
    loud = must(
        "journalctl", f"--unit={UNIT}", "--priority=err", "--output=cat", "--identifier=keepalive"
    ).output
    expect(
        all('"level":"error"' in line for line in loud.splitlines() if line.startswith("{")), "-p err fits"
    )
    return ", ".join(f"{count} {level} at {PRIORITIES[level]}" for level, count in counts.items())


PROOFS = (
    units_are_clean,
    starts,
    is_confined,
    says_how_it_stands,
    takes_a_good_reload,
    refuses_a_bad_reload,
    survives_a_stop_of_its_process,
    survives_a_kill,
    restarts_for_a_rotated_token,
    listens_where_it_may,
    stops,
    stays_down_for_a_configuration_fault,
    names_a_token_that_is_missing,
    starts_in_an_outage,
    runs_an_instance,
    opens_a_sealed_token,
    lets_a_group_in,
    runs_for_a_user,
    waits_longer_each_time,
    has_priorities_in_the_journal,
)


def main() -> int:
    """Prepare the guest, then prove one thing after the other."""
    configure()
    keep_secret(Path("/etc/credstore/cloudflare-token"), "token-one\n")
    must("systemctl", "daemon-reload")
    start_cloudflare()
    for proof in PROOFS:
        name = proof.__name__.replace("_", " ")
        try:
            print(f"  {name}: {proof()}", flush=True)
        except DisprovedError as error:
            print(f"  {name}: NOT PROVEN: {error}", flush=True)
            said = run("journalctl", "--unit=keepalive*", "--output=short-precise").output.splitlines()
            told = [line[:200] for line in said if '"level":"info"' not in line and '"debug"' not in line]
            print("\n".join(told[-30:]), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
