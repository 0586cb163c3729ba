"""The second judge: values by hand, and never a wrong or endless one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_placebo.verify.judge import equivalent
from rlvr_placebo.verify.numeric import surely_different, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("14", 14), ("14.0", 14), (" $14$ ", 14), ("-3", -3), ("−3", -3), ("1,234.5", 1234.5),
        ("1/2", 0.5), (r"\frac{1}{2}", 0.5), (r"\frac12", 0.5), (r"\dfrac{3}{4}", 0.75),
        (r"\frac{1}{2}+\frac{1}{3}", 5 / 6), ("2^3", 8), ("2^{-1}", 0.5), ("-2^2", -4), (".5", 0.5),
        ("(1+2)*3", 9), ("2+3*4", 14), ("7-2-1", 4), ("8/2/2", 2), ("50%", 0.5), ("--3", 3),
        (r"\sqrt{49}", 7), (r"2\cdot 3", 6), (r"\left(1+1\right)", 2), ("3×4", 12), (r"2*\pi",
        2 * math.pi),
    ],
)  # fmt: skip
def test_by_hand(text, value):
    assert value_of(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", "x+1", "seven", "1/0", "(1", "1)", "2^", "9^9^9^9", "9^{9^{9^{9}}}", "(-8)^0.5", "1 2",
     "5cm", "1,2", "=3", "1+" * 150, "(" * 150, r"\frac{1}", r"\sqrt", "4:3", "3!"],
)  # fmt: skip
def test_what_has_no_value(text):
    assert value_of(text) is None
    assert not surely_different(text, "3")


@given(st.text(max_size=60))
def test_any_text_ends(text):
    value = value_of(text)
    assert value is None or math.isfinite(value)


@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999))
def test_the_two_judges_agree_on_fractions(a, b):
    assert surely_different(str(a), str(b)) is (not equivalent(str(a), str(b)))
