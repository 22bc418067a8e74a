"""docs/deploy: the manifests agree with each other. No cluster is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy"


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    with (DEPLOY / "kubernetes.yaml").open() as file:
        return {document["kind"]: document for document in yaml.safe_load_all(file)}


def pod(manifests: dict[str, Any]) -> Any:
    return manifests["Deployment"]["spec"]["template"]


def container(manifests: dict[str, Any]) -> Any:
    return pod(manifests)["spec"]["containers"][0]


def test_everything_that_selects_pods_selects_those_of_the_deployment(manifests: dict[str, Any]) -> None:
    labels = pod(manifests)["metadata"]["labels"].items()
    selectors = {kind: manifests[kind]["spec"]["selector"] for kind in ("Service", "PodDisruptionBudget", "PodMonitor")}
    assert selectors["Service"].items() <= labels
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        assert selectors[kind]["matchLabels"].items() <= labels
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels


def test_ports_are_called_by_names_that_the_container_gives(manifests: dict[str, Any]) -> None:
    given = container(manifests)
    names = {port["name"]: port["containerPort"] for port in given["ports"]}
    probes = [given[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} == {"/health"}
    used = [probe["port"] for probe in probes]
    used += [port["targetPort"] for port in manifests["Service"]["spec"]["ports"]]
    used += [end["port"] for end in manifests["PodMonitor"]["spec"]["podMetricsEndpoints"]]
    assert set(used) <= set(names)
    assert f"--port={names['http']}" in given["args"]
    assert pod(manifests)["metadata"]["annotations"]["prometheus.io/port"] == str(names["http"])


def test_volumes_claims_and_gpus_add_up(manifests: dict[str, Any]) -> None:
    given = container(manifests)
    volumes = {volume["name"]: volume for volume in pod(manifests)["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in given["volumeMounts"]}
    assert set(mounts) == set(volumes)
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]
    environment = {variable["name"]: variable.get("value") for variable in given["env"]}
    assert environment["HF_HOME"] == mounts["models"]
    resources = given["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"


def test_a_pod_is_given_longer_to_stop_than_vllm_takes(manifests: dict[str, Any]) -> None:
    told = dict(argument.split("=", 1) for argument in container(manifests)["args"] if "=" in argument)
    assert int(told["--shutdown-timeout"]) < pod(manifests)["spec"]["terminationGracePeriodSeconds"]


def test_the_image_is_named_by_the_versions_that_the_dockerfile_pins(manifests: dict[str, Any]) -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    base = next(line for line in lines if line.startswith("FROM ")).rpartition(":v")[2]
    ours = next(line for line in lines if "entropix-llm==" in line).rpartition("==")[2].rstrip("'")
    assert container(manifests)["image"].endswith(f":{base}-{ours}")
