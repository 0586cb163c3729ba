"""Drawings of findings: whole SVG files, with every row in them."""

from xml.etree import ElementTree

from rlvr_placebo.report.drawing import alone
from rlvr_placebo.report.findings import draw_drift, draw_effects, draw_ends

SVG = "{http://www.w3.org/2000/svg}"


def titles(drawing):
    """What the dots of a drawing tell; it must be well-formed XML on its own."""
    root = ElementTree.fromstring(alone(drawing))
    return [c.findtext(f"{SVG}title") for c in root.iter(f"{SVG}circle")]


def test_effects_are_drawn_with_their_intervals():
    effect = {"effect": "accuracy, a<b", "rule": "rises", "finding": "shown", "value": 4.04,
              "interval90": [1.0, 7.0]}  # fmt: skip
    claims = [{"id": "one", "effects": [effect, effect | {"finding": "not seen"}]}]
    assert titles(draw_effects(claims)) == ["one: accuracy, a<b rises: +4.0 (+1.0 to +7.0)"] * 2
    assert 'class="bar shown"' in draw_effects(claims)
    assert 'class="bar refuted"' in draw_effects(claims)


def test_drift_is_drawn_for_one_optimizer_without_off():
    cell = {"value": 0.01, "interval": [0.0, 0.02]}
    lab = {"lab": {"optimizer": "sgd"}, "before": -2.1, "cells": {"off": cell, "both": cell}}
    other = {"lab": {"optimizer": "adamw"}, "before": 1.0, "cells": {"off": cell}}
    assert titles(draw_drift([lab, other])) == ["both: +0.0100"]


def test_every_run_of_the_laboratory_is_a_dot():
    ends = {"pocket/one": {"off": {"ends": [1.0, 2.0]}, "both": {"ends": [3.0]}}}
    assert titles(draw_ends(ends)) == ["1.0", "2.0", "3.0"]
