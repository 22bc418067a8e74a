"""docs/deploy: the manifests agree with each other and with the sources. No cluster or container engine is asked."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from entropix.cli import make_parser
from entropix.folders import hub_directory
from entropix.models import cache_directories
from entropix.serve.settings import Settings

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"


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


@pytest.fixture
def image() -> list[tuple[str, str]]:
    """The instructions of the server's image."""
    text = (DEPLOY / "server.Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(instruction, rest) for instruction, _, rest in (line.partition(" ") for line in lines)]


def told(image: list[tuple[str, str]], instruction: str) -> str:
    (rest,) = [rest for name, rest in image if name == instruction]
    return rest


def test_what_the_servers_image_copies_is_there_and_enough_for_a_wheel(image: list[tuple[str, str]]) -> None:
    copied = [rest.split()[:-1] for name, rest in image if name == "COPY" and "--from=" not in rest]
    sources = {source for group in copied for source in group}
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    readme, hook = project["project"]["readme"], "hatch_build.py"
    assert {"pyproject.toml", readme, hook, "LICENSE", "src"} <= sources
    (extras,) = re.findall(r"whl\)\[([^\]]*)\]", " ".join(rest for name, rest in image if name == "RUN"))
    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()


def test_the_servers_image_starts_the_command_on_the_port_that_it_exposes(image: list[tuple[str, str]]) -> None:
    program, *arguments = json.loads(told(image, "ENTRYPOINT"))
    given = make_parser(arguments).parse_args([*arguments, "-m", "organisation/repository:Q4_K_M"])
    assert (program, given.supervised, given.model) == ("entropix", True, "organisation/repository:Q4_K_M")
    assert given.host == "0.0.0.0", "what listens on the container's loopback, nobody reaches"
    assert given.api_key_file, "other addresses than loopback need keys"
    assert int(told(image, "EXPOSE")) == given.port == Settings().port
    assert f"127.0.0.1:{given.port}/health" in told(image, "HEALTHCHECK")


def test_models_of_the_servers_image_lie_in_its_volume(
    image: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in told(image, "ENV").split():
        monkeypatch.setenv(*variable.split("="))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    volume, hub = Path(told(image, "VOLUME")), hub_directory()
    assert cache_directories()[0] == volume
    assert hub is not None
    assert hub.is_relative_to(volume)
