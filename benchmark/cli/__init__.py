"""The command line, one file for each command."""

import sys

import typer
from typer.exceptions import TyperException

from kbench.cli.board import board
from kbench.cli.canary import canary
from kbench.cli.check import check
from kbench.cli.claims import claims
from kbench.cli.compare import compare
from kbench.cli.console import say
from kbench.cli.export import export
from kbench.cli.list import list_
from kbench.cli.merge import merge, repair
from kbench.cli.new import new_model, new_task
from kbench.cli.reproduce import reproduce
from kbench.cli.run import plan, run
from kbench.cli.sample import sample
from kbench.cli.scale import scale
from kbench.cli.show import show
from kbench.cli.site import site
from kbench.cli.streams import drop, prepare
from kbench.cli.submit import schema, submit
from kbench.cli.validate import validate
from kbench.cli.version import version
from kbench.errors import KbenchError

app = typer.Typer(
    help="How many training samples does a sequence model need, and does it share what it learns "
    "across lengths? kbench measures N* and κ, the sharing factor.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(version)
app.command()(run)
app.command()(plan)
app.command()(merge)
app.command()(repair)
app.command()(scale)
app.command()(show)
app.command()(export)
app.command("list")(list_)
app.command()(sample)
app.command()(check)
app.command()(new_model)
app.command()(new_task)
app.command()(canary)
app.command()(reproduce)
app.command()(compare)
app.command()(submit)
app.command()(validate)
app.command()(schema)
app.command()(board)
app.command()(claims)
app.command()(site)


def main() -> None:
    """Entry point: every foreseen error is one line on stderr and exit code 2."""
    prepare()
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except (KbenchError, TyperException) as error:
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        say(f"error: {' '.join(message.split())}")
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:  # whoever read the output has read enough
        drop(1)
        code = 0
    except OSError as error:
        drop(1)
        say(f"error: {error.filename or 'the output'}: {error.strerror or error}")
        code = 2
    sys.exit(code)
