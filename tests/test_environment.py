"""D21, D22, D25: users without a home, caches elsewhere, models in several files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entropix import folders, models, native, profiles
from entropix.cli import main
from entropix.errors import ModelError, ProfileError
from entropix.models import embedded

COMMAND = [sys.executable, "-m", "entropix"]


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME and without an entry in the password file."""

    def none(*_: Any) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", embedded.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", none)
    monkeypatch.setattr(Path, "expanduser", none)


def test_d21_without_a_home_there_are_no_caches_and_no_profiles_of_ones_own(homeless: None) -> None:
    assert folders.home() is folders.cache_directory() is folders.hub_directory() is None
    assert models.cache_directories() == []
    assert [entry.name for entry in models.available()] == ["smollm2"]
    assert profiles.own() == []
    assert native.compiled(Path(native.__file__).with_name("kernel.c")) is None
    assert folders.expanded("~/model.gguf") == Path("~/model.gguf")
    with pytest.raises(ModelError, match=r"no model '~/model.gguf'"):
        models.resolve("~/model.gguf")


def test_d21_without_a_home_a_profile_needs_a_name(
    homeless: None, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(ProfileError, match="no home directory"):
        profiles.user_directory()
    assert main(["calibrate", "smollm2", "-q"]) == 2
    assert "--out" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("home", [None, "/root", "/nowhere"])
def test_d21_a_user_whom_nobody_knows_gets_an_answer(smollm2: Path, home: str | None, tmp_path: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    who = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOME", "XDG", "HF_"))}
    if home is not None:
        environment["HOME"] = home
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    needed = "import entropix.engines.llama_cpp.library as l, entropix.models.embedded as e; l.load(); assert e.find()"
    check = [*who, sys.executable, "-c", needed]
    if subprocess.run(check, env=environment, cwd="/", capture_output=True, check=False).returncode:
        pytest.skip("this environment cannot be read by other users")
    arguments = ["generate", "-q", "-n", "3", "-p", "greedy", "Hi"]
    done = subprocess.run([*who, *COMMAND, *arguments], env=environment, cwd="/", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.strip()
    listed = subprocess.run([*who, *COMMAND, "models"], env=environment, cwd="/", capture_output=True, check=False)
    assert listed.returncode == 0
    assert b"smollm2" in listed.stdout


@pytest.mark.parametrize(
    ("variables", "hub"),
    [
        ({"HF_HUB_CACHE": "{}/a"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "{}/b"}, "b"),
        ({"HF_HOME": "{}/c"}, "c/hub"),
        ({"XDG_CACHE_HOME": "{}/d"}, "d/huggingface/hub"),
        ({"HOME": "{}"}, ".cache/huggingface/hub"),
        ({"HF_HOME": "~/e", "HOME": "{}"}, "e/hub"),
        ({"HF_HOME": "$HOME/f", "HOME": "{}"}, "f/hub"),
        ({"HF_HUB_CACHE": "{}/g", "HF_HOME": "{}/not", "XDG_CACHE_HOME": "{}/not"}, "g"),
        ({"HF_HOME": "", "HOME": "{}"}, ".cache/huggingface/hub"),
    ],
)
def test_d22_models_of_the_hub_are_listed_where_the_hub_keeps_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variables: dict[str, str],
    hub: str,
) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    snapshot = tmp_path / hub / "models--acme--tiny-llama" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert main(["models"]) == 0
    assert "acme/tiny-llama" in capfd.readouterr().out
    assert models.resolve("acme/tiny-llama") == ("transformers", str(snapshot))


def parts(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"GGUF")
    return folder


def test_d25_a_folder_with_the_parts_of_one_model_is_that_model(tmp_path: Path) -> None:
    names = [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    folder = parts(tmp_path / "m", *names)
    assert models.resolve(folder) == ("llama_cpp", str(folder / names[0]))
    assert models.resolve(folder / names[1]) == ("llama_cpp", str(folder / names[0])), "any part stands for all"
    parts(folder, "mmproj-m-f16.gguf")
    assert models.resolve(folder) == ("llama_cpp", str(folder / names[0]))
    parts(folder, "other.gguf")
    with pytest.raises(ModelError, match=r"several models \(m-00001-of-00003.gguf, other.gguf\)"):
        models.resolve(folder)


@pytest.mark.parametrize(("there", "missing"), [((2, 3), "m-00001"), ((1, 3), "m-00002"), ((1,), "m-00002.*m-00003")])
def test_d25_parts_that_are_missing_are_named(tmp_path: Path, there: tuple[int, ...], missing: str) -> None:
    folder = parts(tmp_path / "m", *(f"m-0000{n}-of-00003.gguf" for n in there))
    for given in (folder, folder / f"m-0000{there[0]}-of-00003.gguf"):
        with pytest.raises(ModelError, match=f"one of 3 parts of a model, of which are missing: {missing}"):
            models.resolve(given)


def test_d25_two_split_models_in_one_folder_are_two(tmp_path: Path) -> None:
    folder = parts(tmp_path, *(f"{m}-0000{n}-of-00002.gguf" for m in "ab" for n in (1, 2)))
    with pytest.raises(ModelError, match=r"several models \(a-00001-of-00002.gguf, b-00001-of-00002.gguf\)"):
        models.resolve(folder)


def test_d25_a_split_model_is_listed_once_and_loaded_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = parts(tmp_path / ".cache" / "entropix-models", *(f"m-0000{n}-of-00002.gguf" for n in (1, 2)))
    monkeypatch.setenv("HOME", str(tmp_path))
    entries = [(e.name, e.size) for e in models.available() if e.name.startswith("m")]
    assert entries == [("m", 8)]
    assert models.resolve("m") == ("llama_cpp", str(folder / "m-00001-of-00002.gguf"))


def test_d25_a_split_model_says_what_the_whole_one_says(tmp_path: Path, smollm2: Path) -> None:
    gguf = pytest.importorskip("gguf")
    import entropix

    reader = gguf.GGUFReader(smollm2)
    writer = gguf.GGUFWriter(tmp_path / "m", "llama", split_max_tensors=100)
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert len(list(tmp_path.glob("*.gguf"))) == 3
    texts = []
    for source in (smollm2, tmp_path):
        with entropix.load(source, threads=1, context=256) as model:
            texts.append(model.generate("Hi", policy="greedy", max_tokens=6).tokens)
            name = model.info.name
    assert texts[0] == texts[1]
    assert name == "m"
