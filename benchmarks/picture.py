"""The picture of the README from a real run of the embedded model: python -m benchmarks.picture docs/generate.svg"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

import entropix
from entropix.trace import terminal

PROMPT = "Why do leaves change colour in autumn?"


def main(path: str) -> None:
    console = Console(record=True, width=96, force_terminal=True, color_system="truecolor", file=io.StringIO())
    with entropix.load("smollm2") as model:
        result = model.generate(PROMPT, seed=4, max_tokens=160)
    console.print(Text(f'$ entropix generate --seed 4 --max-tokens 160 "{PROMPT}"', "bold"))
    console.print(terminal.legend(console), Text())
    answer = Text()
    for step in result.steps:
        answer.append(terminal.visible(step.text), terminal.token_style(console, step))
    console.print(answer, Text())
    console.print(terminal.summary(console, result))
    picture = re.sub(r"\s*@font-face \{.*?\}", "", console.export_svg(title="entropix"), flags=re.DOTALL)
    Path(path).write_text(picture, encoding="utf-8")  # without the fonts that rich would have loaded from elsewhere
    print(f"{path}: {len(result.steps)} tokens, finished by {result.finish_reason!r}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/generate.svg")
