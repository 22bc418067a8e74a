""".github: what one job hands to another agrees, what jobs call is there, and forms are whole. No runner is asked."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
NODE_24 = {
    "actions/checkout": 5,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "actions/download-artifact": 7,
    "actions/upload-pages-artifact": 5,
    "actions/deploy-pages": 5,
}
"""Since which version an action is for Node 24: runners have had no Node 20 since September 2026."""
FORMS = [f for f in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if f.stem != "config"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]


def steps(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if step.get("uses", "").startswith(f"{action}@")]


def artifacts(job: dict[str, Any], action: str) -> set[str]:
    """The names under which a job uploads or downloads, over its matrix."""
    matrix = {k: v for k, v in job.get("strategy", {}).get("matrix", {}).items() if k != "include"}
    names = set()
    for values in itertools.product(*matrix.values()):
        of = dict(zip(matrix, values, strict=True))
        for step in steps(job, action):
            name = step["with"].get("name", "")
            if "kind ==" in name:  # the one expression: 'sdist' for the sdist, else the system
                name = "dist-sdist" if of["kind"] == "sdist" else f"dist-{of['os']}"
            names.add(re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found, of=of: of[found[1]], name))
    return names


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_wait_for_jobs_that_there_are_and_actions_have_a_version(path: Path) -> None:
    found = jobs(path.stem)
    for job in found.values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= found.keys()
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@(v\d[\d.]*|release/v1)", action) for action in used)


def test_what_is_installed_before_a_release_is_what_was_built_for_it() -> None:
    found = jobs("release")
    built = artifacts(found["sdist"], "actions/upload-artifact") | artifacts(found["wheel"], "actions/upload-artifact")
    assert len(built) == 6
    assert artifacts(found["install"], "actions/download-artifact") <= built
    (publish,) = steps(found["publish"], "actions/download-artifact")
    assert publish["with"] == {"pattern": "dist-*", "merge-multiple": True, "path": "dist"}
    assert all(name.startswith("dist-") for name in built)
    up, down = (
        {step["uses"].partition("@")[2] for job in found.values() for step in steps(job, f"actions/{way}-artifact")}
        for way in ("upload", "download")
    )
    assert (up, down) == ({"v6"}, {"v7"}), "a pair of one generation; others may not find what is uploaded"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_of_versions_for_the_node_that_runners_have(path: Path) -> None:
    used = re.findall(r"uses: (actions/[\w-]+)@v(\d+)", path.read_text())
    assert {name for name, _ in used} <= NODE_24.keys()
    assert [name for name, version in used if int(version) < NODE_24[name]] == []


def test_only_the_job_that_publishes_can_ask_for_a_token_and_only_after_the_installation() -> None:
    found = jobs("release")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in found.items() if "permissions" in job} == {
        "publish": {"id-token": "write"}
    }
    assert found["publish"]["needs"] == "install"
    (step,) = steps(found["publish"], "pypa/gh-action-pypi-publish")
    assert "with" not in step, "no password: publishing is trusted"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_the_fields_of_an_issue_form_have_a_label_and_nothing_that_a_comma_has_split_off(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    for field in form["body"]:
        assert field["type"] in ("textarea", "input")
        assert "label" in field["attributes"]
        assert field["attributes"].keys() <= {"label", "description", "placeholder", "value", "render"}


def test_what_workflows_call_of_this_repository_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in WORKFLOWS:
        text = path.read_text()
        assert set(re.findall(r"run: make ([\w-]+)", text)) <= targets
        assert all((ROOT / file).is_file() for file in re.findall(r"\.github/[\w/]+\.py", text))
    assert set(re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)) <= targets
