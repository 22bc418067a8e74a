"""lm_eval's own command line with the model "entropix" registered, which no entry point does for lm-eval 0.4.13."""

from __future__ import annotations

import sys

from entropix.cli import INTERRUPTED, fail
from entropix.errors import EntropixError


def main() -> int:
    """Run it and return the exit code: 0, 2 for a mistake in what was given to us, 130 after Ctrl-C. What lm_eval
    raises itself keeps its stack trace."""
    try:
        from entropix.plugins.lm_eval.model import command_line

        command_line()
    except EntropixError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("entropix: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
