from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_placebo.core.records import Status
from rlvr_placebo.verify.canonical import canonical
from rlvr_placebo.verify.extract import extract_answer, last_boxed
from rlvr_placebo.verify.judge import equivalent, parsable, verify
from rlvr_placebo.verify.numbers import read_number


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
        ("The answer is 3. No, the answer is 4.", "4"),
        ("The answer is 42. We are done.", "42"),
        ("The answer is 42, since 6*7=42.", "42"),
        ("The answer is 1,000.", "1,000"),
        ("The answer is 3.5 cm.", "3.5 cm"),
        ("The answer is (1, 2).", "(1, 2)"),
        ("The final answer is $5$. I hope it is correct.", "5"),
        ("The answer is $3$ or $4$.", "3$ or $4"),
        (r"<think>maybe \boxed{7}? no.</think><answer>8</answer>", "8"),
        (r"<think>\boxed{7}</think> I do not know", "7"),
        (r"<think>a</think> b </think> \boxed{2}", "2"),
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


def number(text):
    found = read_number(canonical(text)[0])
    return found and found.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", Fraction(7)), ("-7", Fraction(-7)), ("+7", Fraction(7)), ("007", Fraction(7)),
        ("7.0", Fraction(7)), ("7.", Fraction(7)), (".5", Fraction(1, 2)), ("$5$", Fraction(5)),
        ("1,234", Fraction(1234)), ("1,234.5", Fraction(2469, 2)), ("12,34", None),
        ("3/4", Fraction(3, 4)), ("-3/4", Fraction(-3, 4)), ("6/8", Fraction(3, 4)), ("1/0", None),
        (r"\frac{3}{4}", Fraction(3, 4)), (r"-\dfrac{3}{4}", Fraction(-3, 4)), ("12", Fraction(12)),
        (r"\frac{3}{0}", None), ("x", None), ("", None), ("1e5", Fraction(100000)),
        ("7 apples", Fraction(7)), ("2 1/2", Fraction(5, 2)), ("two", Fraction(2)),
        (r"3\times10^{-2}", Fraction(3, 100)), ("3 dozen", Fraction(36)), ("1" * 500, None),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert number(text) == value


@given(st.integers(-(10**9), 10**9), st.integers(1, 999))
def test_every_way_of_writing_a_fraction_agrees(top, bottom):
    ratio = Fraction(top, bottom)
    sign, size = ("-" if top < 0 else ""), abs(top)
    written = [f"{top}/{bottom}", f"${top}/{bottom}$", f"{ratio}", f" {top}/{bottom}. ",
               rf"{sign}\dfrac{{{size}}}{{{bottom}}}", rf"\frac{{{top}}}{{{bottom}}}"]  # fmt: skip
    for one in written:
        assert number(one) == ratio
        assert equivalent(f"{top}/{bottom}", one) is True
        assert equivalent(f"{top}/{bottom}", f"{top + 1}/{bottom}") is False


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("x12", False), ("12 3", False), ("1-", False), ("seven", True), ("7,", True), ("?", False),
     ("14/2 ", True), ("7 apples", True), (r"\sqrt{49}", True), ("x=7", True), ("7%", True),
     ("(7)", True), ("7cm", True), ("7pm", True), ("7percent", False), ("Tuesday", False),
     ("x7y", False), ("7 8 9", False), ("7,8", False), ("€7", True), ("7:1", True)],
)  # fmt: skip
def test_answers_beside_a_number(answer, verdict):
    assert equivalent("7", answer) is verdict


def test_typography_is_no_difference():
    assert equivalent("-3", "\u22123") is True
    assert equivalent("-3", "3") is False
    assert equivalent("1000", "1 000") is True
    assert equivalent("1000", "1\u202f000") is True
    assert equivalent("1000", "1 00") is False


def test_what_can_be_compared():
    assert parsable("14")
    assert parsable("no idea")
    assert parsable(r"\sqrt{2}")
    assert not parsable(r"\frac{1}{")
    assert not parsable("1+*2")


def test_statuses():
    right, wrong = verify(r"\boxed{7.0}", ["7"]), verify(r"\boxed{8}", ["7"])
    assert (right.correct, right.status, right.extracted) == (True, Status.OK, "7.0")
    assert (wrong.correct, wrong.status) == (False, Status.OK)
    none = verify("I do not know", ["7"])
    assert (none.correct, none.status, none.extracted) == (False, Status.NO_ANSWER, None)
    for golds in ([], [""], [" $ $ "], ["\\frac{1}{2"]):
        bad = verify(r"\boxed{7}", golds)
        assert (bad.correct, bad.status) == (None, Status.BAD_GOLD)
    assert verify(r"\boxed{}", [""]).correct is None  # an empty answer does not match an empty gold
    assert verify(r"\boxed{1/2}", ["3", "0.5"]).correct is True


@pytest.mark.parametrize(
    ("text", "strict", "last_number"),
    [
        ("So 14", None, "14"), ("The answer is 12.", "12", "12"), ("nothing", None, None),
        ("<answer>7</answer> 8", "7", "7"), (r"<answer>\boxed{5}</answer>", "5", "5"),
        ("<answer>The answer is 4.</answer>", "4", "4"), ("<answer></answer>", None, None),
        ("<answer>1</answer> <answer>2</answer>", "2", "2"), ("1,234.50 then", None, "1,234.50"),
        ("it is -3/4", None, "-3/4"), (r"\boxed{2} 9", "2", "2"),
    ],
)  # fmt: skip
def test_the_fallback_is_taken_only_by_name(text, strict, last_number):
    assert extract_answer(text) == strict
    assert extract_answer(text, "last_number") == last_number
    assert verify(text, ["99"]).extracted == strict
