"""Puts the C kernels into the wheel, compiled, where there is a compiler; without one the wheel is the same for all.

ENTROPIX_KERNELS=required ends a build that cannot compile them, as the release's must not, and =none leaves them out.
The project's addresses are those of the repository whose workflow builds it: a fork's point at the fork.
"""

import importlib.util
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "ENTROPIX_KERNELS"


class Kernels(BuildHookInterface):
    """Called by hatchling for the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        wanted = os.environ.get(VARIABLE, "")
        if version == "editable" or wanted == "none":
            return
        self.folder = tempfile.TemporaryDirectory()
        try:
            libraries = compiled(Path(self.root) / "src" / "entropix", Path(self.folder.name))
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or b""
            problem = f"the C kernels are not compiled: {error} {said.decode(errors='replace')}".strip()
            if wanted == "required":
                raise RuntimeError(problem) from error
            self.app.display_warning(f"{problem}; the wheel has none, and is the same for every system")
            return
        build_data["force_include"].update(libraries)
        build_data["pure_python"] = False
        # no Python in them, so that one wheel is for all of its versions
        build_data["tag"] = f"py3-none-{system()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


class Addresses(MetadataHookInterface):
    """Called by hatchling for [project.urls]; none outside of a workflow, where no home is known."""

    def update(self, metadata: dict[str, Any]) -> None:
        server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
        if server and repository:
            home = f"{server}/{repository}"
            metadata["urls"] = {
                "Homepage": home,
                "Documentation": f"{home}/tree/main/docs",
                "Issues": f"{home}/issues",
                "Changelog": f"{home}/blob/main/CHANGELOG.md",
            }


def compiled(package: Path, folder: Path) -> dict[str, str]:
    """Libraries, and where in the wheel they belong. Raises OSError, subprocess.SubprocessError."""
    spec = importlib.util.spec_from_file_location("toolchain", package / "toolchain.py")
    toolchain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toolchain)
    compiler = toolchain.compiler()
    if compiler is None:
        raise FileNotFoundError(f"there is no C compiler ({', '.join(toolchain.COMPILERS)})")
    found = {}
    for name in toolchain.SOURCES:
        source = package / name
        for variant, tuning in toolchain.variants().items():
            target = toolchain.library(source, variant)
            toolchain.build(compiler, source, folder / target.name, [package, source.parent], tuning)
            found[str(folder / target.name)] = target.relative_to(package.parent).as_posix()
    return found


def system() -> str:
    """The wheel's platform. What Python calls universal2 has libraries of this machine's kind only."""
    name = sysconfig.get_platform()
    if name.endswith("universal2"):
        name = name.replace("universal2", os.uname().machine)
    return name.replace("-", "_").replace(".", "_")
