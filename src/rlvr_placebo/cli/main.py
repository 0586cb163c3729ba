"""``placebo``: dispatch, and the one place where a mistake becomes one line and status 2."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence

from rlvr_placebo.core.errors import PlaceboError

INTERRUPTED = (
    "interrupted; a command that writes a folder goes on when repeated (train and eval: with "
    "--resume)"
)
DESCRIPTION = "Controlled trials of reinforcement learning with verifiable rewards (RLVR)."


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what stands behind ``placebo``; by default the process's own.

    Returns:
        0; with one line on standard error 2 after a user's mistake, 1 when the system fails (a full
        disk), 130 after Ctrl-C.
    """
    _safe_streams()
    status = _run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError:  # the reader has gone; what was to be written to disk is there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _run(given: list[str]) -> int:
    """Carry out one command and turn whatever ends it into an exit status."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _check_text(given)
            command = _parse(given or ["--help"])
        command.run()
    except PlaceboError as error:
        print(f"placebo: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(f"placebo: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        full = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
        if not (full or isinstance(error, MemoryError)):  # the first is torch's, of a GPU
            raise
        print("placebo: out of memory; lower rollout.max_rows or optimizer.micro_tokens",
              file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print(f"placebo: {INTERRUPTED}", file=sys.stderr)
        return 130
    except SystemExit as leaving:
        if said.getvalue():
            print(f"placebo: {one_line(said.getvalue())}", file=sys.stderr)
        return leaving.code if isinstance(leaving.code, int) else 2
    return 0


def _safe_streams() -> None:
    """Output may be closed, or unable to show a character; neither may cost a run."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _check_text(arguments: Sequence[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise PlaceboError(f"argument {argument!r} is not valid text") from None


def _parse(arguments: list[str]):  # noqa: ANN202 (one of the command records)
    """Read the command line into a command record."""
    import tyro

    from rlvr_placebo.cli import commands

    group, *rest = arguments
    inner = commands.COMMANDS.get(group)
    own = {*inner, "-h", "--help"} if isinstance(inner, dict) else set()
    if group in commands.DEFAULTS and not own.intersection(rest[:1]):
        arguments = [group, commands.DEFAULTS[group], *rest]
    app = tyro.extras.SubcommandApp()
    for name, command in commands.COMMANDS.items():
        if isinstance(command, dict):
            inner = tyro.extras.SubcommandApp()
            for inner_name, inner_command in command.items():
                inner.command(name=inner_name)(inner_command)
            app.command(inner, name=name, help=commands.GROUPS[name])
        else:
            app.command(name=name)(command)
    markers = (tyro.conf.FlagCreatePairsOff,)
    return app.cli(prog="placebo", description=DESCRIPTION, args=arguments, config=markers)


def one_line(boxed: str) -> str:
    """What an argument parser drew in a box, as one line."""
    said = boxed.split("│ ─────", 1)[0].split("╮", 1)[-1]
    return " ".join(re.sub(r"[╭╮╰╯│─]+", " ", said).split()) + " (see --help)"


if __name__ == "__main__":
    sys.exit(main())
