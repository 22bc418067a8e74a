"""Install what is to be released as a user does, away from the sources, and use it.

    python .github/dist_check.py dist/*          the wheel and the sdist, each in a new environment
    python .github/dist_check.py --build         build both first, into a temporary folder (needs hatchling)

Ends with 1 and says what went wrong where one of them does not work. pip takes the dependencies from its index.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ANSWER = """
import sys
import entropix
from entropix import native, profiles
from entropix.engines.scripted import ScriptedEngine, saying

assert entropix.__file__.startswith(sys.prefix), entropix.__file__
with entropix.Model(ScriptedEngine(saying("It is Paris.", certainty=20))) as model:
    result = model.generate("What is the capital of France?", seed=1)
assert result.text == str(result) == "It is Paris.", result
assert "It is Paris." in result._repr_html_(), "the viewer's page is not there"
assert profiles.shipped(), "no profile is there"
assert all((native.HERE / name).is_file() for name in ("kernel.c", *native.SHARED)), "the C sources are not there"
library = native.kernel()
print(repr(result), "with C kernels of the package" if library else "with NumPy")
assert library or "--compiled" not in sys.argv, "no library of this wheel is for this system"
"""
"""One answer without a model and without a compiler, and the files beside the modules."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="wheels and sdists")
    parser.add_argument("--build", action="store_true", help="build a wheel and an sdist, and check these")
    args = parser.parse_args()
    if bool(args.files) == args.build:
        parser.error("give the files to check, or --build")
    with tempfile.TemporaryDirectory() as folder:
        files = build(Path(folder)) if args.build else args.files
        for file in files:
            begun = time.monotonic()
            check(file.resolve(), Path(folder) / f"environment of {file.name}")
            print(f"{file.name}: installed and used in {time.monotonic() - begun:.0f} s")
    return 0


def build(folder: Path) -> list[Path]:
    """A wheel and an sdist of the sources that this file belongs to."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder / "dist"), "-t", "sdist", "-t", "wheel"]
    subprocess.run(command, cwd=root, check=True)
    return sorted((folder / "dist").iterdir())


def check(file: Path, place: Path) -> None:
    """Raises CalledProcessError, AssertionError where what `file` installs does not work."""
    version = re.split(r"[-]", file.name.removesuffix(".tar.gz"))[1]
    venv.create(place, with_pip=True)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    # nothing of the environment that runs this, and no sources in the folder where it runs
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str, ends: int = 0, **changed: str) -> str:
        env = {**environment, **changed}
        done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
        if done.returncode != ends or "Traceback" in done.stderr + done.stdout:
            raise SystemExit(f"{file.name}: {command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    run(python, "-m", "pip", "install", "--quiet", str(file))
    run(python, "-m", "pip", "check")
    program = str(programs / "entropix")
    said = run(program, "--version").strip()
    if said != f"entropix {version}":
        raise SystemExit(f"{file.name}: --version says {said!r}")
    for command, wanted in (("policies", "mirostat"), ("searches", "backtrack"), ("models", "smollm2")):
        if wanted not in run(program, command):
            raise SystemExit(f"{file.name}: `entropix {command}` does not show {wanted}")
    if "pip install 'entropix-llm[llama]'" not in run(program, "doctor", ends=1):  # no engine is installed
        raise SystemExit(f"{file.name}: `entropix doctor` does not say how to get an engine")
    compiled = file.suffix == ".whl" and not file.stem.endswith("-any")
    print(run(python, "-c", ANSWER, *["--compiled"] * compiled, PATH=str(programs)).strip())


if __name__ == "__main__":
    sys.exit(main())
