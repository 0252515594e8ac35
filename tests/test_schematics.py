"""Schematics: boxes and arrows where they were asked for, and refusals by name."""

import matplotlib.pyplot as plt
import pytest

from helpers.schematics import KINDS, show_schematic

BOXES = {kind: (1 + 2 * i, 1, kind, kind) for i, kind in enumerate(KINDS)}


def test_every_kind_of_box_is_drawn_and_its_arrows_end_at_it(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    show_schematic(BOXES, [("data", "layer"), ("layer", "loss", "way"), ("loss", "code", "∂ back")], (10, 2), "Title")
    axis = plt.gcf().axes[0]
    assert [text.get_text() for text in axis.texts if text.get_text()] == ["Title", *KINDS, "way", "∂ back"]
    arrows = [text.arrow_patch for text in axis.texts if getattr(text, "arrow_patch", None)]
    assert [arrow.get_linestyle() for arrow in arrows] == ["-", "-", "--"]
    assert [text.get_position()[0] for text in axis.texts if text.get_text() in KINDS] == [1, 3, 5, 7, 9]
    plt.close("all")


def test_what_is_not_there_is_refused_by_name():
    with pytest.raises(ValueError, match=r"box 'x' must be of a kind of data, .*got 'cloud'"):
        show_schematic({"x": (1, 1, "x", "cloud")}, [])
    with pytest.raises(ValueError, match="arrows must join boxes, got z"):
        show_schematic(BOXES, [("data", "z")])
