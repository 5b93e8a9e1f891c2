"""Plays the pods of deploy/kubernetes by a Docker engine, with what the kubelet would give to them.

Users, the group that `fsGroup` shares, read-only roots and mounts, the `..data` links of ConfigMaps and
Secrets, probes, and the order in which a sidecar and its consumer start and end. It needs docker, kubectl,
root and the image keepalive:dev. Admission, scheduling and the network of a cluster are not proved here.

    kubernetes_pod.py FOLDER      prints a line for each proof; exits with 1 at the first that fails
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml

EMULATOR, PROBES = 18977, 18787
"""Ports on loopback."""

GROUP = 65532
TOKEN, ANOTHER = "emulated-token\n", "another-token\n"  # made up: an emulator's

Tree = Mapping[str, Any]
"""What stands in YAML."""


class BrokenError(Exception):
    """A promise that does not hold."""


def main() -> None:
    """Play both Deployments."""
    folder = Path(sys.argv[1], "pods")
    try:
        play_cluster(folder / "cluster")
        play_sidecar(folder / "sidecar")
    except BrokenError as broken:
        sys.exit(f"kubernetes: {broken}")


def play_cluster(folder: Path) -> None:
    """The daemon alone: an outage of Cloudflare takes its readiness, and never its life."""
    pod = Pod.of("cluster", folder)
    [container] = pod.spec["containers"]
    with pod.runs(container, KEEPALIVE_HEARTBEAT__WINDOW="6s") as daemon:
        took = daemon.passes("startupProbe")
        if daemon.probe("readinessProbe"):
            raise BrokenError("readinessProbe passes although nobody is eligible")
        proved(f"Deployment: without Cloudflare startupProbe passes after {took:.1f} s, readinessProbe fails")
        with emulator():
            took = daemon.passes("readinessProbe")
            proved(f"Deployment: with Cloudflare readinessProbe passes {took:.1f} s later")
        took = wait("readinessProbe to fail without Cloudflare", lambda: not daemon.probe("readinessProbe"))
        if not daemon.probe("livenessProbe"):
            raise BrokenError("livenessProbe fails for want of Cloudflare")
        with emulator():
            back = daemon.passes("readinessProbe")
            proved(
                f"Deployment: in an outage livenessProbe passes; readinessProbe fails after {took:.1f} s "
                f"(window 6 s), and passes again {back:.1f} s after its end"
            )
            proved(f"Deployment: SIGTERM ends it with 0 in {daemon.ends():.1f} s")


def play_sidecar(folder: Path) -> None:
    """The daemon beside a consumer, which holds a lease over the socket that both see."""
    pod = Pod.of("sidecar", folder)
    [first], [second] = pod.spec["initContainers"], pod.spec["containers"]
    with emulator(), pod.runs(first) as sidecar:
        took = sidecar.passes("startupProbe")
        with pod.runs(second, LEASE="consumer-0", LEASE_SECONDS="6") as consumer:
            consumer.says("web is eligible")
            consumer.says("renewed the lease")
            user = second["securityContext"]["runAsUser"]
            proved(f"sidecar: startupProbe passes after {took:.1f} s; then user {user} holds its lease")
            pod.project("secret", {"api_token": ANOTHER})
            took = sidecar.says('"breaker.opened"')
            pod.project("secret", {"api_token": TOKEN})
            sidecar.says('"breaker.closed"')
            proved(f"sidecar: a Secret that the kubelet swaps is in use after at most {took:.1f} s")
            consumer.ends()
            consumer.says("gave the lease back: 204")
        took = sidecar.ends()
        proved(
            f"sidecar: the consumer ends first, its lease given back; the daemon then with 0 in {took:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod of a Deployment, its volumes in a folder."""

    spec: Tree
    folder: Path

    @classmethod
    def of(cls, overlay: str, folder: Path) -> Pod:
        """Build an overlay, and lay its pod's volumes out."""
        shutil.rmtree(folder, ignore_errors=True)
        built = list(
            yaml.safe_load_all(output("kubectl", "kustomize", f"deploy/kubernetes/overlays/{overlay}"))
        )
        [deployment] = (one for one in built if one["kind"] == "Deployment")
        maps = {one["metadata"]["name"]: one["data"] for one in built if one["kind"] == "ConfigMap"}
        pod = cls(deployment["spec"]["template"]["spec"], folder)
        for volume in pod.spec["volumes"]:
            name = volume["name"]
            (folder / name).mkdir(parents=True)
            if "configMap" in volume:
                pod.project(name, maps[volume["configMap"]["name"]])
            elif "secret" in volume:
                pod.project(name, {"api_token": TOKEN}, volume["secret"]["defaultMode"])
            else:
                os.chown(folder / name, 0, GROUP)
                (folder / name).chmod(0o2777)
        return pod

    def project(self, volume: str, files: Mapping[str, str], mode: int = 0o440) -> None:
        """Put files into a volume all at once, as the kubelet does: by the link `..data`."""
        place = self.folder / volume
        data = place / f"..{time.time_ns()}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
            (data / name).chmod(mode)
            os.chown(data / name, 0, GROUP)
            if not (place / name).is_symlink():
                (place / name).symlink_to(Path("..data", name))
        (place / "..new").symlink_to(data.name)
        (place / "..new").rename(place / "..data")

    @contextmanager
    def runs(self, container: Tree, **environ: str) -> Iterator[Container]:
        """Run one of its containers until the block ends."""
        security = {**self.spec["securityContext"], **container["securityContext"]}
        name = f"keepalive-pod-{container['name']}"
        given = {
            "KEEPALIVE_CLOUDFLARE__BASE_URL": f"http://127.0.0.1:{EMULATOR}/client/v4",
            "KEEPALIVE_HTTP__LISTEN": f"0.0.0.0:{PROBES}",
            **{one["name"]: one["value"] for one in container.get("env", ()) if "value" in one},
            **environ,
        }
        command = container.get("command", [])
        image = "keepalive:dev" if container["name"] == "keepalive" else container["image"]
        output(
            *("docker", "run", "--detach", "--name", name, "--network", "host"),
            *("--user", f"{security['runAsUser']}:{security['runAsGroup']}"),
            *("--group-add", str(security["fsGroup"])),
            *(["--read-only"] if security["readOnlyRootFilesystem"] else []),
            *([] if security["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]),
            *(f"--cap-drop={one}" for one in security["capabilities"]["drop"]),
            *("--memory", container["resources"]["limits"]["memory"].removesuffix("i").lower()),
            *(f"--env={key}={value}" for key, value in given.items()),
            *(f"--volume={self._mount(mount)}" for mount in container["volumeMounts"]),
            *([f"--entrypoint={command[0]}"] if command else []),
            *(image, *command[1:], *container.get("args", ())),
        )
        try:
            yield Container(container, name)
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)

    def _mount(self, mount: Tree) -> str:
        return f"{self.folder / mount['name']}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"


@dataclass(frozen=True, slots=True)
class Container:
    """A running container, and what its specification says about it."""

    spec: Tree
    name: str

    def probe(self, kind: str) -> bool:
        """Ask as the kubelet does: by the pod's address, within the probe's timeout."""
        asked = self.spec[kind]
        connection = HTTPConnection("127.0.0.1", PROBES, timeout=asked["timeoutSeconds"])
        try:
            connection.request("GET", asked["httpGet"]["path"], headers={"Host": f"10.0.0.7:{PROBES}"})
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def passes(self, kind: str) -> float:
        """Wait until a probe passes; return the seconds it took."""
        return wait(f"{kind} of {self.name}", lambda: self.probe(kind), self.log)

    def says(self, text: str) -> float:
        """Wait until it says something; return the seconds it took."""
        return wait(f"{self.name} to say {text}", lambda: text in self.log(), self.log)

    def log(self) -> str:
        """Return all that it wrote."""
        done = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def ends(self) -> float:
        """Stop it by SIGTERM; return the seconds until it ended with 0."""
        start = time.monotonic()
        output("docker", "stop", "--time", "10", self.name)
        code = output("docker", "inspect", "--format", "{{.State.ExitCode}}", self.name).strip()
        if code != "0":
            raise BrokenError(f"{self.name} ended with {code}: {self.log()}")
        return time.monotonic() - start


@contextmanager
def emulator() -> Iterator[None]:
    """Run a local Cloudflare until the block ends."""
    command = [".venv/bin/keepalive", "emulator", "--port", str(EMULATOR)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait("the emulator", lambda: listens(EMULATOR))
        yield
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    """Say whether something listens on loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait(what: str, seen: Callable[[], bool], log: Callable[[], str] = str, seconds: float = 45.0) -> float:
    """Wait until something is seen; return the seconds it took.

    Raises:
        BrokenError: It was not seen in time.
    """
    start = time.monotonic()
    while not seen():
        if time.monotonic() - start > seconds:
            raise BrokenError(f"waited {seconds:g} s for {what}: {log()[-2000:]}")
        time.sleep(0.1)
    return time.monotonic() - start


def output(*command: str) -> str:
    """Run a command to its end; return what it printed.

    Raises:
        BrokenError: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokenError(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout


def proved(text: str) -> None:
    """Say what holds."""
    print(f"kubernetes: {text}", flush=True)


if __name__ == "__main__":
    main()
