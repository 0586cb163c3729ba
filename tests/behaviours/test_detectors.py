"""At least forty hard cases for each detector."""

import pytest

from rlvr_placebo.behaviours.detectors import (
    BEHAVIOURS,
    boxed,
    code,
    label,
    marker,
    python_mentioned,
    words,
)
from rlvr_placebo.behaviours.language import other_language
from rlvr_placebo.behaviours.repetition import repetition

TRACE = "```python\nx=12+5 #17\nx-=3 #14\nprint(x)\n```\n```output\n14\n```\nSo \\boxed{14}"

CODE = {
    # real Python
    "```python\nx=1\nprint(x)\n```": True,
    TRACE: True,
    "Let's use Python.\n" + TRACE: True,
    "```py\nimport math\n```": True,
    "```python\nprint(3)": True,  # the block may be cut off
    "```Python\nfor i in x:\n  y+=i\n```": True,
    "```python3\nfrom sympy import symbols\n```": True,
    "``` python\nx = 3\n```": True,
    "~~~python\nx = 3\n~~~": True,
    "````python\nx = 3\n````": True,
    "1. First:\n   ```python\n   x = 3\n   ```": True,  # within a list
    "> ```python\n> x = 3\n> ```": True,  # a quotation
    "```{.python}\nx = 3\n```": True,
    "In [1]: x=3\nOut[1]: 3": True,
    "```python\nx = 3\nfor i in": True,  # cut off within a line
    "```python\nLet me see:\nprint(3)\n```": True,  # prose beside what only Python writes
    "```sympy\nsolve(x**2 - 4)\n```": True,
    "```python\n# solve it\nsolve(x**2-4)\n```": True,
    "```python\ndef f(n):\n    return n\n```": True,
    "```python\nif x > 3:\n    pass\n```": True,
    "```python\nassert x == 3\n```": True,
    "```python\na, b = 3, 4\n```": True,
    "```python\nd['k'] = 4\n```": True,
    "```python\nx **= 2\n```": True,
    "```python\nx //= 2\n```": True,
    "```\nprint(17)\n```": True,  # unnamed, but only Python writes this
    "```\nimport math\nmath.sqrt(2)\n```": True,
    "```code\ndef f(x):\n  return x\n```": True,
    ">>> 3+4\n7": True,  # an interpreter's trace
    "I try:\n>>> x = 3\n>>> x * 2\n6": True,
    "```json\n{}\n```\n```python\nx=1\n```": True,  # the second block counts
    # no Python, or none written out
    "```python\nLet n be the number of pens, then n = 3\n```": False,
    "```python\nThe answer = 5 because x\n```": False,
    "```python\nx\n```": False,
    "```python\n42\n```": False,
    ">>> quoted markdown": False,
    ">>> Okay": False,
    "In [1]: a house": False,
    "I like python.": False,
    "We can use Python. 3 plus 4 is 7.": False,
    "As in Python, 3 // 2 is 1.": False,
    "```\n3+4\n```": False,
    "```python\n```": False,
    "```python\n\n\n```": False,
    "```python\n# only a comment\n```": False,
    "```python\nthe python is a snake\n```": False,
    "```json\nx=1\n```": False,
    "```output\n14\n```": False,
    "```text\nx = 3\n```": False,
    "```cpp\nint x = 3;\n```": False,
    "```javascript\nprint(3)\n```": False,
    "```latex\nx = 3\n```": False,
    "x=1\nprint(x)": False,  # not fenced: could be prose
    "`print(x)`": False,
    "The import of rice and the for loop of the road.": False,
    "$x = 3$": False,
    "\\boxed{print(3)}": False,
    "a >>> b means much larger": False,
    "``` \nx = 3\n```": False,  # unnamed, and an equation as well
    "": False,
    "```": False,
    "```python": False,
}

PYTHON_MENTIONED = {
    "python": True, "Python": True, "PYTHON": True, "pythonic": True, "Monty Python's film": True,
    "```python\n```": True, "no Python here": True, "I will not use python.": True, TRACE: True,
    "a python is a snake": True, "ipython": True, "CPython 3.11": True, "micropython": True,
    "Python-like": True, "use\npython\nnow": True, "\\text{python}": True, "`python`": True,
    "python3 -c 'x'": True, "PyThOn": True, "python.": True, "Let's solve this using Python.": True,
    "pyhton": False, "py": False, "```py\nx=1\n```": False, "p y t h o n": False, "pytho": False,
    "ython": False, "print(3)": False, "```\nprint(3)\n```": False, "sympy": False, "snake": False,
    "": False, " ": False, "Pyth": False, "pyth-on": False, "pyth\non": False, "питон": False,
    "numpy": False, "import math": False, ">>> 3": False, "ｐｙｔｈｏｎ": False, "java": False,
}  # fmt: skip

BOXED = {
    r"\boxed{7}": True, r"So \boxed{7}.": True, r"\boxed{\frac{1}{2}}": True, r"\boxed{ 7 }": True,
    r"\boxed{7": False, r"\boxed{}": False, r"\boxed{ }": False, r"\boxed": False,
    r"boxed{7}": False, r"\boxed 7": False, r"\boxed{{7}}": True, r"\boxed{{7}": False,
    r"\boxed{7}}": True, "": False,
    r"\boxed{1} \boxed{}": False,  # the last one counts, and it is empty
    r"\boxed{} \boxed{1}": True, r"\boxed{1} \boxed{2": True, r"$\boxed{7}$": True,
    r"\[\boxed{7}\]": True, r"\boxed{\text{seven}}": True, r"\boxed{\{1,2\}}": True,
    r"\boxed{\{1,2}": True, r"\boxed{1\}": False, r"\fbox{7}": False, r"\Boxed{7}": False,
    r"\boxed{0}": True, r"\boxed{-3}": True, "\\boxed{\n7\n}": True, "\\boxed{\n}": False,
    r"\boxed{$7$}": True, r"\\boxed{7}": True, r"\boxed(7)": False, r"\boxed[7]": False,
    r"\boxed{\boxed{9}}": True, r"\boxed{\boxed{}}": False, r"the answer is 7": False, "[7]": False,
    r"\box{7}": False, r"\boxed{x^{2}}": True, r"\boxed{\sqrt[3]{8}}": True, "boxed": False,
    r"**\boxed{7}**": True, r"\boxed{π}": True,
}  # fmt: skip

BASE = "We add five and three to get eight, and then we take away two, which leaves six pens."
REPETITION = {
    "ha " * 12: True,
    "ha " * 11: False,
    "So the answer is 7. " * 4: True,  # 5 words, four times
    "So the answer is 7. " * 3: False,
    "So 7. " * 6: True,
    "So 7. " * 5: False,  # only 10 words
    BASE: False,
    BASE + " " + "Wait. " * 12: True,
    BASE * 2: False,
    (BASE + " ") * 4: True,
    (BASE + "\n") * 4: True,
    BASE + " I repeat: " + BASE: False,
    "a" * 60: True,
    "a" * 59: False,
    "ab" * 30: True,
    "ab" * 29: False,
    "0." + "3" * 60: True,
    "0." + "142857" * 10: True,
    "0.142857142857": False,
    "x=1\nx=2\nx=3\nx=4\nx=5\n": False,
    "\n" * 500: False,  # blank, and nothing else
    " " * 500: False,
    "": False,
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20": False,
    "0, 0, 0, 0": False,
    "0, " * 12: True,
    "0 1 " * 6: True,
    "0 1 " * 5: False,
    TRACE: False,
    TRACE + "\n" + TRACE: False,
    "\\boxed{7} " * 12: True,
    "\\boxed{7}" * 4: False,  # 36 characters
    "\\boxed{7}" * 8: True,
    "我" * 60: True,
    "我们" * 30: True,
    "我们" * 20: False,
    "-" * 59: False,
    "-" * 80: True,  # a drawn line as well: long ones are rare in answers
    " ".join(f"step {i} is done" for i in range(40)): False,  # the numbers change
    "one two three four five six seven " * 4: True,
    "one two three four five six seven " * 3: False,
    " ".join(str(i) for i in range(65)) * 4: False,  # a period longer than is looked for
    (" ".join(str(i) for i in range(64)) + " ") * 4: True,
    (" ".join(str(i) for i in range(64)) + " ") * 3: False,
    "ha Ha hA HA " * 3: False,  # twelve words, three times
}

OTHER_LANGUAGE = {
    BASE: False, TRACE: False, "": False, "7": False, "x = y": False, "\\boxed{14}": False,
    "So 14": False, "Let me think.\n12 plus 5 is 17.": False, "π ≈ 3.14": False, "α + β": False,
    "The café in Zürich": False, "naïve résumé": False, "Å": False, "ℝ": False, "𝑥 + 𝑦": False,
    "x² + y²": False, "ⁿ": False, "3 × 4 ÷ 2": False, "“Yes”": False, "→": False, "😀": False,
    "de": False, "la de": False, "Es ist 14.": False, "Hola": False, "et al.": False,
    "让我们计算": True, "So 让 14": True, "Ответ: 14": True, "答案是 14": True, "정답은 14": True,
    "الجواب 14": True, "उत्तर 14": True, "答えは14": True, "ответ": True, "א": True,
    "Wir haben 12 und dann nehmen wir 5 weg, das ist 17.": True,
    "Nous avons 12 et donc il reste 5 dans le sac.": True,
    "Entonces tiene 12 y ahora son 17 por el total.": True,
    "Allora sono 17 e quindi gli altri ha con il resto.": True,
    "Então temos 17 e agora são 12 para uma.": True,
    "Dan zijn er 17 en dus heeft het 12 op de bus.": True,
    "```python\n答案 = 14\n```": False,  # names in code are no prose
    "$\\text{是}$": False,
    "The German word \"und\" means and.": False,
    "We see that the sum is 17, und das ist 14, also 3.": False,
}  # fmt: skip

MARKER = {
    "Okay.\nLet me think.": True, "Okay": True, "okay, so": True, "OKAY": True, " Okay.": True,
    "\nOkay.": True, "Okay!": True, "Okay-dokey": True, "Okay: 7": True, "\tokay then": True,
    "okay\n": True, "Okay.Okay.": True, "Okay…": True, "Okay (7)": True, "Okay, let's see.": True,
    "Okay;": True, "Okay/": True, "oKaY": True, "Okay 7": True, "Okay\\boxed{7}": True,
    "Okayish": False, "Okays": False, "Okay_": False, "Okay7": False, "OK": False, "Ok.": False,
    "O.K.": False, "So okay.": False, "It is okay.": False, "": False, " ": False, "Ok ay": False,
    "Oka": False, "kay": False, "Let me think. Okay.": False, "```\nOkay\n```": False,
    "\"Okay\"": False, "- Okay": False, "1. Okay": False, "Alright.": False, "оkay": False,
    "Well, okay": False,
}  # fmt: skip

WORDS = {
    "": 0, " ": 0, "\n\t\n": 0, "a": 1, "a b": 2, "  a   b  ": 2, "a\nb\tc": 3, "a-b": 1, "a, b": 2,
    "a,b": 1, "3+4": 1, "3 + 4": 3, "\\boxed{7}": 1, "\\boxed{ 7 }": 3, "$x = 3$": 3, "don't": 1,
    "e.g. this": 2, "x=12+5 #17": 2, "```python\nx=1\n```": 3, "a\u00a0b": 2, "a\u200bb": 1,
    "\ufeffa": 1, "a\u2028b": 2, "我": 1, "我们": 2, "我们 走": 3, "a我b": 3,
    "こんにちは": 5, "한국": 2, "😀": 1, "😀😀": 1, "naïve": 1, "a.b.c": 1, "1,000": 1, "1 000": 2,
    "—": 1, "a—b": 1,
    "a — b": 3, "...": 1, ". . .": 3, "\r\n": 0, "a\r\nb": 2, "\x00": 1, "a" * 10_000: 1,
    "a " * 10_000: 10_000,
}  # fmt: skip

CASES = {
    code: CODE, python_mentioned: PYTHON_MENTIONED, boxed: BOXED, repetition: REPETITION,
    other_language: OTHER_LANGUAGE, marker: MARKER, words: WORDS,
}  # fmt: skip


@pytest.mark.parametrize(
    ("detector", "text"), [(d, t) for d, cases in CASES.items() for t in cases],
    ids=lambda v: getattr(v, "__name__", None),
)  # fmt: skip
def test_hard_cases(detector, text):
    assert detector(text) == CASES[detector][text]


@pytest.mark.parametrize("detector", CASES, ids=lambda d: d.__name__)
def test_there_are_at_least_forty(detector):
    assert len(CASES[detector]) >= 40
    assert detector in {*BEHAVIOURS.values(), words}


def test_labels_name_every_detector():
    text = "Okay. " + "Python. " * 12 + "是\n```python\nx=1\n```\n\\boxed{1}"
    assert label(text) == dict.fromkeys(BEHAVIOURS, True)


@pytest.mark.parametrize(
    "text",
    ["ab " * 1_000_000, "```python\n" * 20_000, "\\boxed{" * 40_000, "x = " * 600_000,
     "(" * 2_000_000, "我" * 1_000_000, "a" * 3_000_000, ">" * 200_000, "$" * 99_999,
     "\\a{" * 60_000, "~~~\n" * 40_000],
    ids=range(11),
)  # fmt: skip
def test_long_texts_are_labelled(text):
    """Nothing backtracks: what is quadratic would not end before the test's time limit."""
    assert set(label(text)) == set(BEHAVIOURS)
