from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_placebo.core.records import Status
from rlvr_placebo.verify.equivalence import as_number, equivalent, verify
from rlvr_placebo.verify.extract import extract_answer, last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{7}", "7"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} and \boxed{4", "3"),  # the last balanced one
        (r"\boxed{}", None),
        (r"\boxed{ 5 }", "5"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{a}}", "a"),
        (r"\boxed{\boxed{9}}", "9"),
        ("The answer is 12.", "12"),
        ("the final answer is: $12$.", "12"),
        ("The answer is 3. No, the answer is 4.", "3. No, the answer is 4"),
        ("The answer is 3.\nNo: the answer is 4.", "4"),
        ("So 14", None),
        ("Output: 14", None),
        ("", None),
    ],
)
def test_extraction(text, answer):
    assert extract_answer(text) == answer


def test_nested_box_is_the_inner_one():
    assert last_boxed(r"\boxed{\boxed{9}}") == "9"


@pytest.mark.timeout(60)  # quadratic time would take hours
def test_extraction_is_linear():
    assert last_boxed(r"\boxed{" * 300_000) is None
    assert last_boxed("{" * 1_000_000) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", Fraction(7)), ("-7", Fraction(-7)), ("+7", Fraction(7)), ("007", Fraction(7)),
        ("7.0", Fraction(7)), ("7.", Fraction(7)), (".5", Fraction(1, 2)), ("$5$", Fraction(5)),
        ("1,234", Fraction(1234)), ("1,234.5", Fraction(2469, 2)), ("12,34", None),
        ("3/4", Fraction(3, 4)), ("-3/4", Fraction(-3, 4)), ("6/8", Fraction(3, 4)), ("1/0", None),
        (r"\frac{3}{4}", Fraction(3, 4)), (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"\frac{3}{0}", None), ("x", None), ("", None), ("7 apples", None), ("1e5", None),
        ("\u0667", None), ("1" * 500, None),
    ],
)  # fmt: skip
def test_numbers(text, number):
    assert as_number(text) == number


@given(st.integers(-(10**9), 10**9), st.integers(1, 999))
def test_every_way_of_writing_a_fraction_agrees(top, bottom):
    ratio = Fraction(top, bottom)
    written = [f"{top}/{bottom}", f"${top}/{bottom}$", f"{ratio}", f" {top}/{bottom}. "]
    for one in written:
        assert as_number(one) == ratio
        assert equivalent(f"{top}/{bottom}", one) is True
        assert equivalent(f"{top}/{bottom}", f"{top + 1}/{bottom}") is False


def test_unknown_is_never_wrong():
    assert equivalent("x+1", "1+x") is None
    assert equivalent("x+1", " x+1 ") is True
    assert verify(r"\boxed{1+x}", ["x+1"]).correct is None
    assert verify(r"\boxed{1+x}", ["x+1"]).status is Status.ERROR


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("x12", False), ("12 3", False), ("1-", False), ("seven", None), ("7,", False), ("?", False),
     ("2^3", None), ("14/2 ", True), ("7 apples", None), (r"\sqrt{49}", None), ("x=7", None),
     ("7%", None), ("(7)", None), ("7cm", None), ("7pm", None), ("7percent", None), ("VII", None),
     ("twenty-one", None), ("７", None), ("٧", None), ("7:1", None), ("7,8", None), ("€7", None),
     ("Tuesday", False), ("x7y", False), ("7 8 9", False), ("a half", None)],
)  # fmt: skip
def test_what_cannot_be_a_number_is_wrong_beside_one(answer, verdict):
    assert equivalent("7", answer) is verdict


def test_typography_is_no_difference():
    assert equivalent("-3", "\u22123") is True
    assert equivalent("-3", "3") is False
    assert equivalent("1000", "1 000") is True
    assert equivalent("1000", "1\u202f000") is True
    assert equivalent("1000", "1 00") is False


def test_statuses():
    right, wrong = verify(r"\boxed{7.0}", ["7"]), verify(r"\boxed{8}", ["7"])
    assert (right.correct, right.status, right.extracted) == (True, Status.OK, "7.0")
    assert (wrong.correct, wrong.status) == (False, Status.OK)
    none = verify("I do not know", ["7"])
    assert (none.correct, none.status, none.extracted) == (False, Status.NO_ANSWER, None)
    for golds in ([], [""], [" $ $ "]):
        bad = verify(r"\boxed{7}", golds)
        assert (bad.correct, bad.status) == (None, Status.BAD_GOLD)
    assert verify(r"\boxed{}", [""]).correct is None  # an empty answer does not match an empty gold
    assert verify(r"\boxed{1/2}", ["3", "0.5"]).correct is True
