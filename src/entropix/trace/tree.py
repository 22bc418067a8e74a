"""A search as a tree on a terminal: every branch with its text, why it was opened and why it ended."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from entropix.trace.terminal import MUTED, is_colored, one_line, token_style, visible
from entropix.types import BranchRecord, SearchRecord

WIDTH = 60
"""Characters of a branch's text that are shown: its beginning and its end."""


def search_tree(console: Console, search: SearchRecord, most: int | None = None) -> Tree:
    """The tree of a search. most: show only so many of the last branches, as a live view must fit its window."""
    tree = Tree(_head(search), guide_style=MUTED if is_colored(console) else "")
    nodes: dict[int | None, Tree] = {None: tree}
    children: dict[int | None, list[BranchRecord]] = {}
    hidden = 0 if most is None else max(len(search.branches) - most, 0)
    for branch in search.branches:
        children.setdefault(branch.parent, []).append(branch)
    shown = {branch.number for branch in search.branches[hidden:]}
    if hidden:
        tree.add(Text(f"… {hidden} earlier branches"))
    # a branch is opened after its parent, so parents are already there
    for branch in search.branches:
        if branch.number in shown:
            above = nodes.get(branch.parent, tree)
            nodes[branch.number] = above.add(_line(console, branch))
    return tree


def _head(search: SearchRecord) -> Text:
    votes = ", ".join(f"{visible(answer, '')} {share:.0%}" for answer, share in search.shares.items())
    return Text(f"search {visible(search.spec, '')}" + (f" | {search.ballots} ballots: {votes}" if votes else ""))


def _line(console: Console, branch: BranchRecord) -> Text:
    muted = MUTED if is_colored(console) else None
    text = Text(f"{'●' if branch.kept else '○'} {branch.number} ")
    text.append(f"from token {branch.origin}, {visible(branch.opened, '')}: ", muted)
    steps = branch.steps
    if len(branch.text) <= WIDTH:
        for step in steps:
            text.append(visible(step.text, ""), token_style(console, step))
    else:
        text.append(one_line(branch.text, WIDTH // 2) + " " + one_line(branch.text[-WIDTH // 2 :], WIDTH // 2))
    ends = [f"{len(steps)} tokens", visible(branch.ended, "")]
    if branch.score is not None:
        ends.append(f"score {branch.score:.3f}")
    if branch.answer is not None:
        ends.append(f"answer {one_line(branch.answer, 30)}")
    if branch.weight is not None:
        ends.append(f"weight {branch.weight:.3g}")
    return text.append(f" [{'; '.join(end for end in ends if end)}]", muted)
