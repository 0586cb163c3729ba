"""Verify completions while others are still being generated."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from rlvr_placebo.core.records import Verification
from rlvr_placebo.verify.judge import stop_algebra, verify, verify_at_once


class Meanwhile:
    """Verifications by key: most made at once, those that take algebra in a thread.

    Algebra is done by a process of its own, so that the thread waits and does not compute. The
    findings are those of :func:`verify`; only a question near the limit of time may run into it on
    a machine whose cores are all busy, here as there.

    Example::

        with Meanwhile() as verified:
            engine.generate(prompts, sampling, seeds,
                            lambda p, i, c: verified.add((p, i), c.text, problems[p].golds))
            verified[0, 0].correct
    """

    def __init__(self, fallback: str = "none") -> None:
        """Take what counts where no answer is stated; see :func:`verify`."""
        self._fallback = fallback
        self._known: dict[Hashable, Verification] = {}
        self._asked: dict[Hashable, Future[Verification]] = {}
        self._pool = ThreadPoolExecutor(1)

    def add(self, key: Hashable, text: str, golds: Sequence[str]) -> None:
        """Verify a completion against its gold answers."""
        found = verify_at_once(text, golds, self._fallback)
        if found is None:
            self._asked[key] = self._pool.submit(verify, text, golds, self._fallback)
        else:
            self._known[key] = found

    def __len__(self) -> int:
        """How many were added."""
        return len(self._known) + len(self._asked)

    def __getitem__(self, key: Hashable) -> Verification:
        """The verification of a completion; waits for it.

        Raises:
            PlaceboError: the verifier cannot work here.
        """
        return self._known[key] if key in self._known else self._asked[key].result()

    def __enter__(self) -> Self:
        """Go on until the block is left."""
        return self

    def __exit__(self, *error: object) -> None:
        """Drop what nobody waits for any more; an error or Ctrl-C waits for no algebra."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if error[0] is not None and self._asked:
            stop_algebra()
