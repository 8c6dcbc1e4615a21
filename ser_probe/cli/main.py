"""The command line: parse, call a step, print, exit code. Steps are imported by the command that needs them.

Exit codes: 0 done, 1 a fault in the user's input or environment, 2 wrong usage, 130 interrupted, 143 told to end.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Annotated, Any

import typer

from ser_probe import __version__
from ser_probe.cli.command_table import CommandTable, LazyGroup
from ser_probe.cli.interrupts import Terminated, raise_at_signals
from ser_probe.cli.terminal import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_TERMINATED, print_error, print_note, print_result
from ser_probe.errors import PackageError, SerProbeError

_HOME = re.compile(r"^(--[a-z0-9-]+=|)(~[^/]*(?=/|$))")

COMMANDS = {
    "prepare": "ser_probe.cli.prepare:prepare",
    "prepare join": "ser_probe.cli.prepare_join:join",
    "prepare audio": "ser_probe.cli.prepare_audio:prepare_audio",
    "extract": "ser_probe.cli.extract:extract",
    "finetune": "ser_probe.cli.finetune:finetune",
    "evaluate": "ser_probe.cli.evaluate:evaluate",
    "compare": "ser_probe.cli.compare:compare",
    "search": "ser_probe.cli.search:search",
    "curves": "ser_probe.cli.curves:curves",
    "classify": "ser_probe.cli.classify:classify",
    "export-onnx": "ser_probe.cli.classify:export_onnx",
    "analyze": "ser_probe.cli.analyze:app",
    "report": "ser_probe.cli.report:report",
    "run": "ser_probe.cli.run:run",
    "cache": "ser_probe.cli.cache:app",
    "models": "ser_probe.cli.models:models",
    "doctor": "ser_probe.cli.doctor:doctor",
}
"""Where each command is."""

TERMINATED = "told to end (SIGTERM): what is on disk is kept; run the same command to go on"
INTERRUPTED = "interrupted: what is on disk is kept; run the same command to go on"


class Commands(LazyGroup):
    """The commands, with every fault of the user's turned into one message and an exit code."""

    table = CommandTable(lambda: COMMANDS)

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            typer.Exit: With the exit code, after the message.
        """
        try:
            return super().invoke(ctx)
        except Terminated:
            print_note(f"\n{TERMINATED}")
            raise typer.Exit(EXIT_TERMINATED) from None
        except KeyboardInterrupt:
            print_note(f"\n{INTERRUPTED}")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            message = _message(error)
            # A closed pipe (`| head`) is typer's to handle.
            if message is None or ctx.params["debug"] or getattr(error, "errno", None) == errno.EPIPE:
                raise
            print_error(message)
            raise typer.Exit(EXIT_FAULT) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_result(f"ser-probe {__version__}")
        raise typer.Exit


@app.callback()
def ser_probe(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """What fine-tuning does to speech representations, layer by layer, checkpoint by checkpoint."""


def main() -> None:
    """Run the command line."""
    # Read once, when torch loads its OpenMP. Threads that spin while they wait take the processor from whoever they
    # wait for: measured 35 times slower on two cores beside one other busy process, and no faster alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    raise_at_signals()
    app(expand_home(sys.argv[1:]), prog_name="ser-probe")


def expand_home(words: list[str]) -> list[str]:
    """Return the words of a command with the user's folder in place of `~`, as a shell expands it where it can.

    It does not in `--output=~/x` and in quotes; a folder that is called `~` is what nobody wants.
    """
    return [_HOME.sub(lambda home: home[1] + os.path.expanduser(home[2]), word) for word in words]


def _message(error: Exception) -> SerProbeError | str | None:
    """Return what to say of an error that is not ser-probe's own fault; None for one that is."""
    if isinstance(error, SerProbeError):
        return error
    from ser_probe.packages import import_fault  # it takes longer to load than a page of help takes to show

    # First: what cannot be loaded is often an OSError, and it blames no file of the user's.
    if fault := import_fault(error):
        return fault
    if isinstance(error, ImportError) and error.name is None:  # as libraries ask for what they can use
        return PackageError("A package that is needed here is missing", found=error, fix="install it with pip")
    return _describe_os_error(error) if isinstance(error, OSError) else None


def _describe_os_error(error: OSError) -> str:
    """Return a message for what the operating system refused: a full disk, a folder without write access."""
    where = f"\n  where: {error.filename}" if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    fix = "\n  to do: make space, then run the same command to go on" if full else ""
    return f"{error.strerror or error}{where}{fix}"


if __name__ == "__main__":
    main()
