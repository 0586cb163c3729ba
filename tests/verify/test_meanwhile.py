"""Verification beside generation: the same findings, and no waiting for algebra."""

import time

import pytest

from rlvr_placebo.core.records import Status, Verification
from rlvr_placebo.verify import meanwhile
from rlvr_placebo.verify.judge import verify, verify_at_once
from rlvr_placebo.verify.meanwhile import Meanwhile

PAIRS = [
    (r"so \boxed{12}", ["12"]),
    (r"so \boxed{13}", ["12"]),
    ("no answer", ["12"]),
    (r"so \boxed{(x+1)^2}", ["x^2+2x+1"]),  # takes algebra
    (r"so \boxed{(x+1)^2}", ["x^2+2x+2"]),
    (r"so \boxed{5}", [""]),
]


def test_the_same_as_one_after_the_other():
    with Meanwhile() as verified:
        for key, (text, golds) in enumerate(PAIRS):
            verified.add(key, text, golds)
        found = [verified[key] for key in range(len(PAIRS))]
    assert found == [verify(text, golds) for text, golds in PAIRS]
    assert [f.correct for f in found] == [True, False, False, True, False, None]


def test_at_once_is_all_but_algebra():
    found = [verify_at_once(text, golds) for text, golds in PAIRS]
    assert [f is None for f in found] == [False, False, False, True, True, False]
    for quick, (text, golds) in zip(found, PAIRS, strict=True):
        assert quick is None or quick == verify(text, golds)


def test_adding_does_not_wait_and_leaving_drops_what_is_open(monkeypatch):
    def slow(text, golds, fallback):
        time.sleep(0.5)
        return Verification(None, Status.TIMEOUT, text)

    monkeypatch.setattr(meanwhile, "verify", slow)
    started = time.monotonic()
    with Meanwhile() as verified:
        for key in range(20):
            verified.add(key, *PAIRS[3])
    assert time.monotonic() - started < 5  # ten seconds' worth was asked for


def test_an_error_of_the_thread_is_raised_where_its_finding_is_asked_for(monkeypatch):
    def broken(text, golds, fallback):
        raise RuntimeError("no worker")

    monkeypatch.setattr(meanwhile, "verify", broken)
    with Meanwhile() as verified:
        verified.add("a", *PAIRS[3])
        with pytest.raises(RuntimeError, match="no worker"):
            verified["a"]
