"""Models by name: of a hub on loopback, of its cache, and of what Ollama and LM Studio have on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")

from entropix import models
from entropix.errors import ModelError
from entropix.models import download, hub
from entropix.models.hub import HubFile, HubName, choose, parse, quant_of
from helpers.hub import COMMIT, FakeHub, running

REPOSITORY = "acme/Tiny-GGUF"
MB = 1 << 20


def data(letter: str, size: int = 200_000) -> bytes:
    return b"GGUF" + letter.encode() * size


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with one repository, and a user who has nothing on disk."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "OLLAMA_MODELS", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with running() as server:
        server.repositories[REPOSITORY] = {
            "README.md": b"a model",
            "tiny-Q4_K_M.gguf": data("m"),
            "tiny-Q8_0.gguf": data("8"),
            "mmproj-tiny-f16.gguf": data("p"),
            "large/tiny-F16-00001-of-00002.gguf": data("1"),
            "large/tiny-F16-00002-of-00002.gguf": data("2"),
        }
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def loaded(name: str) -> bytes:
    engine, path = models.resolve(name)
    assert engine == "llama_cpp"
    return Path(path).read_bytes()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("acme/tiny:Q4_K_M", HubName("acme/tiny", "Q4_K_M")),
        ("acme/tiny-GGUF", HubName("acme/tiny-GGUF")),
        ("acme/tiny", None),
        ("hf://acme/tiny/a/b.gguf", HubName("acme/tiny", file="a/b.gguf")),
        ("hf://acme/tiny@v1/b.gguf", HubName("acme/tiny", file="b.gguf", revision="v1")),
        ("hf://acme/tiny:Q8_0", HubName("acme/tiny", "Q8_0")),
        (
            "https://huggingface.co/a/b/resolve/main/c.gguf?download=true",
            HubName("a/b", file="c.gguf", revision="main"),
        ),
        ("https://huggingface.co/a/b/blob/main/d/c.gguf", HubName("a/b", file="d/c.gguf", revision="main")),
        ("./gguf/x", None),
        ("~/gguf", None),
        ("llama3.2:1b", None),
    ],
)
def test_names_of_the_hub(text: str, meant: HubName | None) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize("text", ["hf://acme", "hf://acme/tiny/model.safetensors", "hf:///x/y.gguf"])
def test_names_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"write hf://organisation/repository/file.gguf"):
        parse(text)


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("m-Q4_K_M.gguf", "Q4_K_M"),
        ("m.q8_0.gguf", "q8_0"),
        ("m-IQ3_XXS-00001-of-00003.gguf", "IQ3_XXS"),
        ("m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("m-bf16.gguf", "bf16"),
        ("q4/m.gguf", ""),
        ("model.gguf", ""),
    ],
)
def test_how_weights_are_stored_is_read_off_the_name(path: str, quant: str) -> None:
    assert quant_of(path) == quant


def test_a_repository_means_its_usual_file(server: FakeHub) -> None:
    assert loaded(REPOSITORY) == data("m")
    assert server.files_sent() == [f"/{REPOSITORY}/resolve/main/tiny-Q4_K_M.gguf"], "and nothing else is downloaded"


def test_without_a_usual_one_the_first_is_meant() -> None:
    files = [HubFile("m-Q3_K_L.gguf"), HubFile("m-IQ2_S.gguf")]
    assert choose(HubName("a/b"), files) == [HubFile("m-IQ2_S.gguf")]


@pytest.mark.parametrize("quant", ["Q8_0", "q8_0"])
def test_a_quantisation_is_chosen_in_any_case(server: FakeHub, quant: str) -> None:
    assert loaded(f"{REPOSITORY}:{quant}") == data("8")


def test_a_split_model_comes_with_all_its_parts(server: FakeHub) -> None:
    engine, path = models.resolve(f"{REPOSITORY}:F16")
    assert (engine, Path(path).name) == ("llama_cpp", "tiny-F16-00001-of-00002.gguf")
    assert Path(path).with_name("tiny-F16-00002-of-00002.gguf").read_bytes() == data("2")
    assert loaded(f"hf://{REPOSITORY}/large/tiny-F16-00002-of-00002.gguf") == data("1"), "any part stands for all"


def test_a_split_model_with_a_part_missing_is_refused(server: FakeHub) -> None:
    del server.repositories[REPOSITORY]["large/tiny-F16-00002-of-00002.gguf"]
    with pytest.raises(ModelError, match="has 1 of the 2 parts"):
        models.resolve(f"{REPOSITORY}:F16")


def test_one_file_can_be_named(server: FakeHub) -> None:
    assert loaded(f"hf://{REPOSITORY}/tiny-Q8_0.gguf") == data("8")
    assert loaded(f"{server.url}/{REPOSITORY}/resolve/main/tiny-Q8_0.gguf") == data("8")


def test_what_is_here_is_used_without_asking(server: FakeHub) -> None:
    loaded(REPOSITORY)
    server.asked.clear()
    for name in (REPOSITORY, f"{REPOSITORY}:Q4_K_M", f"hf://{REPOSITORY}/tiny-Q4_K_M.gguf"):
        assert loaded(name) == data("m")
    assert server.asked == []


def test_what_is_here_is_listed_under_the_name_that_loads_it(server: FakeHub) -> None:
    loaded(f"{REPOSITORY}:Q8_0")
    loaded(f"{REPOSITORY}:F16")
    listed = {entry.name: entry.size for entry in models.available() if entry.name.startswith("acme")}
    assert listed == {f"{REPOSITORY}:Q8_0": 200_004, f"{REPOSITORY}:F16": 400_008}
    assert loaded(f"{REPOSITORY}:q8_0".lower()) == data("8")


def test_a_download_that_broke_off_goes_on(server: FakeHub) -> None:
    server.repositories[REPOSITORY]["tiny-Q6_K.gguf"] = data("6", 25 * MB)
    server.cut = 15 * MB  # the client keeps what came in steps of 10 MB
    assert loaded(f"{REPOSITORY}:Q6_K") == data("6", 25 * MB)
    ranges = [wanted for method, path, wanted in server.asked if method == "GET" and "/resolve/" in path]
    assert ranges == [None, f"bytes={10 * MB}-", f"bytes={20 * MB}-"]


def test_a_damaged_file_is_removed(server: FakeHub) -> None:
    server.damaged.add("tiny-Q8_0.gguf")
    with pytest.raises(ModelError, match=r"tiny-Q8_0.gguf arrived damaged"):
        models.resolve(f"{REPOSITORY}:Q8_0")
    server.damaged.clear()
    assert loaded(f"{REPOSITORY}:Q8_0") == data("8")


def test_there_must_be_room_for_all_parts_first(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=download.SPARE + 300_000))
    with pytest.raises(ModelError, match=r"acme/Tiny-GGUF:F16 takes 0 MB, .*HF_HOME"):
        models.resolve(f"{REPOSITORY}:F16")
    assert server.files_sent() == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{REPOSITORY}:Q2_K", "has no Q2_K; it has F16, Q4_K_M, Q8_0"),
        (f"hf://{REPOSITORY}/other.gguf", "has no other.gguf; it has large/tiny-F16"),
        ("acme/nowhere:Q8_0", "there is no repository acme/nowhere on http.*hf auth login"),
        ("acme/plain:Q8_0", r"acme/plain has no .gguf file that is a model"),
        ("acme/closed:Q8_0", "accepted its conditions.*HF_TOKEN"),
    ],
)
def test_what_cannot_be_had_is_said(server: FakeHub, name: str, message: str) -> None:
    server.repositories |= {"acme/plain": {"config.json": b"{}"}, "acme/closed": {"m-Q8_0.gguf": data("c")}}
    server.gated.add("acme/closed")
    with pytest.raises(ModelError, match=message):
        models.resolve(name)


def test_a_hub_that_does_not_answer_is_said(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client tries again for half a minute
    with pytest.raises(ModelError, match=r"acme/Tiny-GGUF:Q8_0 cannot be downloaded from http://127.0.0.1:1"):
        models.resolve(f"{REPOSITORY}:Q8_0")


def test_offline_what_is_here_is_used_and_the_rest_refused(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(REPOSITORY)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert loaded(REPOSITORY) == data("m")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE forbids"):
        models.resolve(f"{REPOSITORY}:Q8_0")


def test_another_cache_is_honoured(server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    _, path = models.resolve(f"{REPOSITORY}:Q8_0")
    assert Path(path).parent == tmp_path / "elsewhere" / "models--acme--Tiny-GGUF" / "snapshots" / COMMIT


def test_without_the_hubs_client_its_absence_is_said(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="pip install huggingface_hub"):
        models.resolve(f"{REPOSITORY}:Q8_0")


def test_a_part_that_is_missing_in_the_cache_is_not_taken_for_the_model(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "m-Q8_0-00001-of-00002.gguf").write_bytes(data("1"))
    assert hub.cached(HubName("a/b", "Q8_0"), tmp_path) is None
    assert hub.in_cache(tmp_path) == []


@pytest.fixture
def ollama(server: FakeHub, tmp_path: Path) -> Path:
    """What Ollama keeps of two models, one of which is not GGUF."""
    folder = tmp_path / ".ollama" / "models"
    for place, weights in (("registry.ollama.ai/library/llama3.2/1b", data("l")), ("hf.co/acme/tiny/latest", b"other")):
        digest = hashlib.sha256(weights).hexdigest()
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / f"sha256-{digest}").write_bytes(weights)
        manifest = folder / "manifests" / place
        manifest.parent.mkdir(parents=True)
        layers: list[Any] = [
            {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:00"},
            {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"},
        ]
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return folder


def test_models_of_ollama_go_by_their_names_there(ollama: Path) -> None:
    assert [(e.name, e.state) for e in models.available() if e.state == "Ollama"] == [("llama3.2:1b", "Ollama")]
    assert loaded("llama3.2:1b") == data("l")
    with pytest.raises(ModelError, match=r"no model 'llama3.2:1c'.*did you mean llama3.2:1b\?"):
        models.resolve("llama3.2:1c")


def test_the_latest_of_ollama_needs_no_tag(ollama: Path) -> None:
    manifest = ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2"
    (manifest / "1b").rename(manifest / "latest")
    assert loaded("llama3.2") == data("l")


def test_a_broken_manifest_hides_no_other(ollama: Path) -> None:
    (ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "bad").write_text("{")
    (ollama / "manifests" / "registry.ollama.ai" / "library" / "llama3.2" / "worse").write_text('{"layers": [{}]}')
    assert loaded("llama3.2:1b") == data("l")


def test_ollamas_folder_can_be_elsewhere(ollama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ollama.rename(tmp_path / "store")
    assert not [e for e in models.available() if e.state == "Ollama"]
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    assert loaded("llama3.2:1b") == data("l")


def test_models_of_lm_studio_are_listed_and_loaded(server: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / ".lmstudio" / "models" / "acme" / "Tiny"
    folder.mkdir(parents=True)
    for name in ("t-Q8_0-00001-of-00002.gguf", "t-Q8_0-00002-of-00002.gguf", "mmproj-t.gguf"):
        (folder / name).write_bytes(data("s"))
    found = [(e.name, e.size) for e in models.available() if e.state == "LM Studio"]
    assert found == [("acme/Tiny/t-Q8_0", 400_008)]
    assert loaded("acme/tiny/t-q8_0") == data("s")
