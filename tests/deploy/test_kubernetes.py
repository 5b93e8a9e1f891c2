"""The manifests, held against restricted Pod Security, their configurations and each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from keepalive.config import Configuration, load

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
DEPLOYMENTS = [
    KUBERNETES / "base" / "deployment.yaml",
    KUBERNETES / "overlays" / "sidecar" / "deployment.yaml",
]
CONFIGURATIONS = sorted(KUBERNETES.rglob("keepalive.toml"))

Tree = Mapping[str, Any]


def read(path: Path) -> Tree:
    tree: Tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tree


def pod_of(deployment: Path) -> Tree:
    pod: Tree = read(deployment)["spec"]["template"]["spec"]
    return pod


def containers_of(pod: Tree) -> Iterator[Tree]:
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


def keepalive_of(pod: Tree) -> Tree:
    [container] = (one for one in containers_of(pod) if one["name"] == "keepalive")
    return container


def of(path: Path) -> str:
    return path.parent.name


@pytest.fixture(params=DEPLOYMENTS, ids=of)
def deployment(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_restricted_pod_security_is_met(deployment: Path) -> None:
    pod = pod_of(deployment)

    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(volume.keys() & {"configMap", "secret", "emptyDir"} for volume in pod["volumes"])
    for container in containers_of(pod):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security
        assert all("hostPort" not in port for port in container.get("ports", ()))


def test_every_container_has_a_numeric_user_and_a_read_only_root(deployment: Path) -> None:
    pod = pod_of(deployment)

    for container in containers_of(pod):
        security = {**pod["securityContext"], **container["securityContext"]}
        assert security["readOnlyRootFilesystem"] is True
        assert security["runAsUser"] > 0
        assert security["runAsGroup"] > 0
        assert container["resources"]["limits"]["memory"]
        assert "cpu" not in container["resources"]["limits"]


def test_no_token_of_the_cluster_and_no_service_links_reach_the_pod(deployment: Path) -> None:
    pod = pod_of(deployment)

    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


def test_two_daemons_never_run_beside_each_other(deployment: Path) -> None:
    spec = read(deployment)["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_an_outage_of_cloudflare_neither_blocks_nor_restarts_a_pod(deployment: Path) -> None:
    container = keepalive_of(pod_of(deployment))
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }

    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_probes_ask_at_the_address_of_the_pod(deployment: Path, tmp_path: Path) -> None:
    container = keepalive_of(pod_of(deployment))
    [port] = container["ports"]
    listen = configuration(deployment.with_name("keepalive.toml"), tmp_path).settings.http.listen

    assert listen == f"0.0.0.0:{port['containerPort']}"
    for kind in ("startup", "liveness", "readiness"):
        asked = container[f"{kind}Probe"]["httpGet"]
        assert asked["port"] == port["name"]
        assert "host" not in asked


def test_the_drain_fits_into_the_grace(deployment: Path) -> None:
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > 5


def test_every_mount_has_its_volume_and_nothing_else_can_be_written(deployment: Path) -> None:
    pod = pod_of(deployment)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = [mount for container in containers_of(pod) for mount in container["volumeMounts"]]

    assert {mount["name"] for mount in mounted} == volumes.keys()
    for mount in mounted:
        assert mount.get("readOnly") or "emptyDir" in volumes[mount["name"]]


def test_what_is_mounted_over_is_what_the_image_writes_to(deployment: Path) -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    written = {
        mount["mountPath"]
        for mount in keepalive_of(pod_of(deployment))["volumeMounts"]
        if not mount.get("readOnly")
    }

    assert written == {"/var/lib/keepalive", "/run/keepalive"}
    assert "STATE_DIRECTORY=/var/lib/keepalive" in image
    assert "RUNTIME_DIRECTORY=/run/keepalive" in image


def test_the_sidecar_outlives_the_consumer_and_shares_its_socket() -> None:
    pod = pod_of(KUBERNETES / "overlays" / "sidecar" / "deployment.yaml")
    [sidecar], [consumer] = pod["initContainers"], pod["containers"]

    def place(container: Tree) -> Tree:
        [mount] = (one for one in container["volumeMounts"] if one["name"] == "run")
        found: Tree = mount
        return found

    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]
    assert place(sidecar)["mountPath"] == place(consumer)["mountPath"]
    assert place(consumer)["readOnly"] is True
    assert sidecar["securityContext"]["runAsUser"] != consumer["securityContext"]["runAsUser"]
    assert pod["securityContext"]["fsGroup"] == sidecar["securityContext"]["runAsGroup"]


def test_the_socket_of_the_sidecar_is_open_to_the_shared_group(tmp_path: Path) -> None:
    control = configuration(KUBERNETES / "overlays" / "sidecar" / "keepalive.toml", tmp_path).settings.control

    assert control.socket == "/run/keepalive/keepalive.sock"
    assert control.mode == "0660"


def configuration(path: Path, scratch: Path) -> Configuration:
    """The configuration, with a token where the Secret would be."""
    token = scratch / "api_token"
    token.write_text("made-up-token\n", encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    assert "/run/secrets/keepalive/api_token" in text
    file = scratch / "keepalive.toml"
    file.write_text(text.replace("/run/secrets/keepalive/api_token", str(token)), encoding="utf-8")
    return load(file, {}, {"STATE_DIRECTORY": str(scratch), "RUNTIME_DIRECTORY": str(scratch)}, scratch)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=of)
def test_every_configuration_is_free_of_faults_and_warnings(path: Path, tmp_path: Path) -> None:
    assert configuration(path, tmp_path).warnings == ()


def test_the_pods_read_the_configuration_and_the_token_where_they_are_mounted(deployment: Path) -> None:
    pod = pod_of(deployment)
    container = keepalive_of(pod)
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    [volume] = (one for one in pod["volumes"] if one["name"] == "secret")

    assert container["args"] == ["run", "--config", f"{places['config']}/keepalive.toml"]
    assert places["secret"] == "/run/secrets/keepalive"
    assert volume["secret"]["secretName"] == read(KUBERNETES / "secret.example.yaml")["metadata"]["name"]
    assert volume["secret"]["defaultMode"] == 0o440
    assert read(KUBERNETES / "secret.example.yaml")["stringData"].keys() == {"api_token"}


def test_no_kustomization_replaces_a_secret() -> None:
    for path in KUBERNETES.rglob("kustomization.yaml"):
        kustomization = read(path)
        assert "secretGenerator" not in kustomization
        assert not [name for name in kustomization["resources"] if "secret" in name]


def test_a_changed_configuration_replaces_no_pod() -> None:
    generating = [
        one for one in map(read, KUBERNETES.rglob("kustomization.yaml")) if "configMapGenerator" in one
    ]

    assert generating
    assert all(one["generatorOptions"] == {"disableNameSuffixHash": True} for one in generating)


def test_the_pod_monitor_finds_the_daemon_by_a_label_and_a_port_that_it_has() -> None:
    monitor = read(KUBERNETES / "overlays" / "podmonitor" / "pod-monitor.yaml")["spec"]
    template = read(KUBERNETES / "base" / "deployment.yaml")["spec"]["template"]
    [endpoint] = monitor["podMetricsEndpoints"]
    [port] = keepalive_of(template["spec"])["ports"]

    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")


def test_the_namespace_enforces_the_restricted_standard() -> None:
    labels = read(KUBERNETES / "overlays" / "cluster" / "namespace.yaml")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
