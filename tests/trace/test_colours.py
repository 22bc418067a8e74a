"""Legible, and told apart by anyone, in light and dark: computed from what a real browser shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entropix.engines.scripted import ScriptedEngine
from entropix.model import Model
from entropix.trace.html import result_document

COLOURS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (...layers) => {
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  const out = {};
  for (const radio of document.querySelectorAll(".exv-modes [role=radio]")) {
    radio.click();
    for (const token of document.querySelectorAll("#text .t, .legend .t")) {
      const style = getComputedStyle(token);
      out[`${radio.dataset.mode} ${token.className}`] =
        { back: over(paper, style.backgroundColor), ink: over(paper, style.color), line: style.textDecorationStyle };
    }
  }
  for (const node of document.querySelectorAll(".legend-item, .exv-detail dt, .exv-detail small, .tick")) {
    const style = getComputedStyle(node);
    out[`plain ${node.getAttribute("class")} ${node.tagName}`] =
      { back: over(paper), ink: over(paper, node.tagName === "text" ? style.fill : style.color), line: "" };
  }
  return out;
}"""
# Machado, Oliveira and Fernandes 2009: what protanopes, deuteranopes and tritanopes see, on linear RGB
DEFICIENCIES = {
    "all colours": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(rgb: list[int]) -> np.ndarray[Any, Any]:
    c = np.asarray(rgb) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: list[int], other: list[int]) -> float:
    a, b = sorted((TO_XYZ[1] @ linear(one), TO_XYZ[1] @ linear(other)))
    return float((b + 0.05) / (a + 0.05))


def lab(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_on_every_tint_is_legible_and_regimes_differ_for_any_colour_vision(
    visit: Callable[..., Any], tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "answer.html"
    path.write_text(result_document(Model(ScriptedEngine()).generate("hi", seed=1, max_tokens=9)), "utf-8")
    page = visit(path.as_uri(), color_scheme=scheme).page
    page.locator("#text .t").nth(2).click()
    colours = page.evaluate(COLOURS)
    assert len(colours) > 25
    for name, colour in colours.items():
        assert contrast(colour["ink"], colour["back"]) >= 4.5, name
    regimes = {name.split()[2]: colour for name, colour in colours.items() if re.fullmatch(r"regime t r-\w+", name)}
    assert len(regimes) == 5
    for vision, matrix in DEFICIENCIES.items():
        seen = {name: lab(matrix @ linear(colour["back"])) for name, colour in regimes.items()}
        for a in seen:
            for b in seen:
                if a < b:
                    # CIE76; 2.3 is the least difference that can be seen
                    assert np.linalg.norm(seen[a] - seen[b]) > 9, (vision, a, b)
    patterns = {colour["line"] for name, colour in regimes.items() if name != "r-flow"}
    assert patterns == {"dotted", "double", "wavy", "dashed"}, "the patterns tell regimes apart without any colour"
