"""The `hark` program: one file a command, one line registers it."""

import os
import sys
from importlib import import_module

import click

import hark
from hark.core.errors import HarkError, SettingsError

COMMANDS = {
    "init": "Write a configuration folder to edit.",
    "up": "Run the whole center on this machine.",
    "demo": "See it work: two weeks of three simulated airlines, then live.",
    "check": "Say for each part whether it is configured and reachable.",
    "status": "The books: where each collected mention is now.",
    "tail": "Show mentions as they are tagged.",
    "search": "Find mentions.",
    "trends": "What a query's mentions did over time.",
    "export": "Write mentions to a file.",
    "import": "Put files of mentions into the log.",
    "tag": "Enrich texts: JSON lines in, JSON lines out.",
    "train": "Learn sentiment or topics from labelled texts.",
    "evaluate": "Measure tags against labels that people gave.",
    "models": "See trained models; promote one, or take it back.",
    "reprocess": "Tag history again beside the old tags; promote it, or take it back.",
    "diff": "What another generation of tags changes.",
    "label": "What persons say about tags: queue, import, export, agreement.",
    "erase": "Take mentions out for good, one by one or an author's, with a receipt.",
    "rejected": "List what was refused and why, or send it round again.",
    "query": "Explain a query.",
    "detect": "Find spikes in a series of counts: CSV in, CSV out.",
    "backtest": "Try an alert rule on history.",
    "forecast": "What the next two days will bring, by the hour.",
    "incidents": "See incidents, and say what is done about them.",
    "user": "Say who may sign in to the console.",
    "bench": "Measure the speed of enrichment here.",
    "collect": "Role: read the sources into the log.",
    "enrich": "Role: tag what is in the log.",
    "alert": "Role: judge the alert rules on what comes in.",
    "index": "Role: write what is tagged to the store.",
    "notify": "Role: tell people of incidents; test a target, list what was sent.",
    "console": "Role: the web application.",
}
"""Each is a module of this package (`import` is import_.py) with a click command called `command`."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"hark.commands.{_module(name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The texts stand in the table, so that --help need not import every command.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _module(name: str) -> str:
    return "import_" if name == "import" else name


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `hark demo`. Then `hark init my-center`, edit what it wrote, `hark check` and `hark up`.",
)
@click.version_option(hark.__version__, prog_name="hark")
def program() -> None:
    """Hark listens: what people say about your brands, collected, tagged, searchable.

    Nothing is lost on the way and nothing counted twice; `hark status` shows the books.
    """


def main() -> None:
    """Run the program; errors meant for people end it with a line, not a traceback."""
    try:
        code = program.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        # The reader of our output has seen enough (`hark search … | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        # A full disk behind standard output, a terminal that is gone: nothing that the program could do about.
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"hark: {place}{error.strerror or error}", err=True)
        code = 1
    except HarkError as error:
        click.echo(f"hark: {error}", err=True)
        code = 2 if isinstance(error, SettingsError) else 1
    sys.exit(code if isinstance(code, int) else 0)
