"""python -m entropix.plugins.transformers FOLDER: what `custom_generate=` takes by name, for a repository of the hub.

The folder works as it is, `custom_generate="FOLDER"`; in a model's own folder it becomes that model's `generate`."""

from __future__ import annotations

import argparse

from entropix.errors import EntropixError
from entropix.plugins.transformers.folder import write


def main() -> None:
    """Exits with 2 for a mistake in what was given."""
    parser = argparse.ArgumentParser(
        "python -m entropix.plugins.transformers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="a new one, or a model's")
    folder = parser.parse_args().folder
    try:
        for file in write(folder):
            print(file)
    except EntropixError as error:
        parser.error(str(error))
    print(f"model.generate(**inputs, custom_generate={folder!r}, trust_remote_code=True, policy='entropix', seed=1)")


if __name__ == "__main__":
    main()
