"""Answers written to hang, crash or fill a verifier, drawn by number."""

from collections.abc import Iterator

from rlvr_placebo.core.seeds import generator_for

GOLDS = ("7", r"\frac{1}{2}", "x^2+1", "(1,2)", r"\{1,2\}", r"\sqrt{2}", r"\text{odd}", "[0,1)")


def adversarial(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield pairs of an ordinary gold and a hostile answer."""
    kinds = list(KINDS.values())
    for index in range(count):
        rng = generator_for(seed, 0, "", index, "adversarial answers")
        n = int(rng.integers(2, 60))
        digit = int(rng.integers(2, 10))
        yield GOLDS[int(rng.integers(len(GOLDS)))], kinds[index % len(kinds)](n, digit)


def _nested(left: str, right: str, n: int, core: str) -> str:
    return left * n + core + right * n


KINDS = {
    "tower": lambda n, d: "^".join(["{" + str(d)] * n) + "}" * n,
    "tower of brackets": lambda n, d: _nested(f"{d}^{{(", ")}", n % 9 + 2, str(d)),
    "issue 65": lambda n, d: f"{d}^{{({d}^{{({d}^{{({d}^{d})}}-4)}})}}",
    "factorials": lambda n, d: str(d) + "!" * (n % 6 + 1),
    "large factorial": lambda n, d: f"{10**(n % 9 + 3)}!",
    "huge integer": lambda n, d: str(d) * (n * 60),
    "huge power": lambda n, d: f"{d}^{{{10**(n % 12 + 3)}}}",
    "huge decimal": lambda n, d: "0." + str(d) * (n * 60),
    "nested fractions": lambda n, d: _nested(r"\frac{1}{1+", "}", n, str(d)),
    "nested roots": lambda n, d: _nested(r"\sqrt{", "}", n, str(d)),
    "deep roots": lambda n, d: _nested(r"\sqrt{", "}", 40 * n, str(d)),
    "open braces": lambda n, d: "{" * (50 * n) + str(d),
    "closed braces": lambda n, d: str(d) + "}" * (50 * n),
    "brackets": lambda n, d: _nested("(", ")", 60 * n, str(d)),
    "mixed brackets": lambda n, d: "([{" * (20 * n) + ")}]" * (20 * n),
    "a megabyte": lambda n, d: str(d) * 1_000_000,
    "a megabyte of LaTeX": lambda n, d: r"\frac{1}{" * 110_000,
    "control characters": lambda n, d: "".join(map(chr, range(32))) * n,
    "null": lambda n, d: f"{d}\0{d}",
    "half a surrogate pair": lambda n, d: f"{d}\ud800",
    "other scripts": lambda n, d: "٣" * n + "七" * n + "𝟟" * n,
    "code": lambda n, d: f"__import__('os').system('sleep {n}')",
    "more code": lambda n, d: f"(lambda: [0]*10**{n})()",
    "shell": lambda n, d: "$(rm -rf /) `id`; cat /etc/passwd",
    "huge binomial": lambda n, d: rf"\binom{{{10**(n % 8 + 3)}}}{{{10**(n % 8 + 2)}}}",
    "huge sum": lambda n, d: rf"\sum_{{k=1}}^{{{10**(n % 9 + 3)}}} \frac{{1}}{{k^{d}}}",
    "integral": lambda n, d: rf"\int_0^1 x^{{x^{{x^{d}}}}} \sin(x^{n}) dx",
    "limit": lambda n, d: rf"\lim_{{x\to 0}} \frac{{\sin^{{{n}}} x}}{{x^{{{n}}}}}",
    "power of a polynomial": lambda n, d: f"(x+y+z+w)^{{{n * n}}}",
    "list": lambda n, d: ",".join(map(str, range(n * 15))),
    "tuples": lambda n, d: _nested("(1,", ")", n, str(d)),
    "matrix": lambda n, d: r"\begin{pmatrix}" + r"\\".join(["&".join([str(d)] * n)] * n)
    + r"\end{pmatrix}",
    "determinant": lambda n, d: r"\begin{vmatrix}"
    + r"\\".join(["&".join(["x"] * (n % 7))] * (n % 7))
    + r"\end{vmatrix}",
    "signs": lambda n, d: "-" * n + "+" * n + str(d),
    "equations": lambda n, d: "=".join(["x"] * n) + f"={d}",
    "commas": lambda n, d: "," * (n * 60),
    "backslashes": lambda n, d: "\\" * (n * 20),
    "boxes": lambda n, d: r"\boxed{" * n + str(d) + "}" * n,
    "words": lambda n, d: "the answer is " * n,
    "digits and words": lambda n, d: "1 a " * (n * 15),
    "letters": lambda n, d: "abcdefghijklmnopqrstuvwxyz"[: n % 26] * d,
    "logarithms": lambda n, d: _nested(r"\log_{2}(", ")", n % 12, str(d)),
    "modulo": lambda n, d: f"{d}^{{{10**n}}} \\bmod {n}",
    "gamma": lambda n, d: rf"\Gamma({10**(n % 7 + 2)}.5)",
    "percent signs": lambda n, d: str(d) + "%" * n,
    "exponents": lambda n, d: f"{d}e{d}{n}{n}",
    "plus or minus": lambda n, d: r"1 \pm " * n + "1",
    "unions": lambda n, d: r"\cup".join(["(0,1)"] * n),
    "spaces": lambda n, d: " " * (n * 60) + str(d),
    "blank": lambda n, d: "",
}  # fmt: skip
