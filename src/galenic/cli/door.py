"""The door of the command line: the commands by name, and the one place where errors become exit statuses.

0 done; 2 the user's input was wrong; 3 stopped early but resumable; 1 galenic's own fault; 130 interrupted with
nothing to resume. torch, numpy, pandas and pydantic are imported by the command that needs them, never here.
"""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from galenic import __version__
from galenic.cli import check, data, demo, evaluate, export, predict, report, train
from galenic.cli.plain import printable
from galenic.core.errors import GalenicError, InputError, NoSpaceError

DEBUG = "--debug"
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED_TO_US = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS,
}  # fmt: skip


class Door(TyperGroup):
    """Runs a command; whatever goes wrong in it leaves as a message on stderr and an exit status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `--debug` wherever it stands before a `--`, since one adds it to the end of what just failed."""
        options = args[: args.index("--")] if "--" in args else args
        if DEBUG in options:
            args = [DEBUG, *(word for word in options if word != DEBUG), *args[len(options) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            typer.echo("\nstopped", err=True)
            raise typer.Exit(INTERRUPTED) from stop
        except Exception as error:
            if _is_shells_own(error):
                raise
            known = explained(error)
            _tell(error, known, debug=bool(ctx.params.get("debug")))
            raise typer.Exit(known.exit_status if known else 1) from error


def explained(error: BaseException) -> GalenicError | None:
    """The error as one of galenic's own; None where it is nothing but a fault of galenic's."""
    if isinstance(error, GalenicError):
        return error
    if _is_out_of_memory(error):
        return InputError(
            "the memory of this machine or device is full",
            todo="close other programs, take a smaller plan or input, or use a machine with more memory",
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return NoSpaceError(f"no space left{where}", todo="free some space and run the same command again")
    if isinstance(error, OSError) and error.errno in _CLOSED_TO_US and error.filename:
        return InputError(
            f"{error.filename} can't be used: {error.strerror}", todo="name another path, or change this one"
        )
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Also torch's ways of saying it, which are no MemoryError; told by name, as torch must not be imported here."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: " in str(error)
    )


def _is_shells_own(error: Exception) -> bool:
    """Usage errors, exits and aborts of typer bring their own message and status; so does a reader that left."""
    if isinstance(error, typer.Exit | typer.Abort | BrokenPipeError):
        return True
    return hasattr(error, "exit_code") and hasattr(error, "format_message")


def _tell(error: Exception, known: GalenicError | None, *, debug: bool) -> None:
    if debug:
        typer.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if known is not None:
        head = typer.style("stopped:" if known.exit_status == 3 else "error:", fg="red", bold=True)
        typer.echo(f"{head} {printable(str(known))}", err=True)
        return
    typer.secho("this is a fault of galenic's, please report it:", fg="red", bold=True, err=True, nl=False)
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    typer.echo(f" {type(error).__name__}: {printable(first_line)}", err=True)
    if not debug:
        typer.echo(
            f"what to do: run it again with {DEBUG} and send what it prints, after a look for patient data", err=True
        )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"galenic {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="galenic", cls=Door, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich"
)


@app.callback()
def galenic(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Deep learning for medicine in one tool: from a table of cases to a model that says how sure it is.

    Not a medical device: research use only.
    """


app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("check")(check.check)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("report")(report.report)
app.command("export")(export.export)


def main() -> None:
    """What the installed command `galenic` runs."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
