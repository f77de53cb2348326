"""`hark train`: a model for sentiment or topics from labelled texts."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from hark.commands.options import common

F = TypeVar("F", bound=Callable[..., Any])
_MOST_TOLD = 20


def examples_options(command: F) -> F:
    """Add what `hark train` and `hark evaluate` share: FILE, --task, and the columns."""
    for option in (
        click.option("--source", help="Column with where a text comes from; scores are told for each."),
        click.option("--brand", help="Column with the brand that a text is about."),
        click.option("--group", help="Column that keeps texts together, such as their author."),
        click.option("--label", required=True, help="Column with the labels; rows without one are left out."),
        click.option("--text", required=True, help="Column with the texts."),
        click.option("--task", required=True, type=click.Choice(["sentiment", "topic"])),
        click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True)),
    ):
        command = option(command)
    return command


@click.command()
@common
@examples_options
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the model."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same model.")
@click.pass_context
def command(
    context: click.Context,
    config: Path | None,
    data: Path | None,
    file: Path,
    task: str,
    text: str,
    label: str,
    group: str | None,
    brand: str | None,
    source: str | None,
    out: Path,
    seed: int,
) -> None:
    """Learn labels of any name from the rows of a CSV file (UTF-8; .csv.gz is unpacked).

    The folder holds a sentiment model and a topic model side by side, each with its card (TASK.json, TASK.md).
    `hark tag --models` serves both. A row that cannot be read is reported and left out; the exit code is then 1.
    """
    # Small matrices: more threads than one would only get in each other's way, and could change the last digits.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from enrich.card import write_card
    from enrich.chain import before_models
    from enrich.examples import Columns, read
    from enrich.model import Task, write
    from enrich.phrasebook import load as load_phrasebook
    from enrich.training import steps_of_training, train
    from hark.settings import load
    from hark.wiring import chain_of

    settings = load(config, data)
    examples = read(file, Columns(text, label, group, brand, source))
    tell_broken(examples.broken)
    chain = chain_of(settings)
    steps = before_models(chain)
    with click.progressbar(
        length=steps_of_training(examples), label="training", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        found = train(
            examples,
            cast(Task, task),
            steps,
            settings.brands,
            load_phrasebook(settings.config),
            seed,
            lambda: bar.update(1),
            [step for step in chain.steps if step.name == "intent"],
        )
    for name, count in found.rare.items():
        click.echo(f"{label} {name!r} has {count} texts, too few to learn from: left out", err=True)
    write(found.model, out)
    card = write_card(found, examples, file.name, datetime.now(UTC).date(), out)
    folds, left_out = found.folds.scores, found.left_out
    click.echo(
        f"{task}: {folds.texts:,} texts, {len(found.model.labels)} labels. "
        f"Validated on texts unseen: accuracy {folds.accuracy}, macro-F1 {folds.macro_f1}"
    )
    if left_out is not None:
        click.echo(
            f"on brands unseen: accuracy {left_out.scores.accuracy}, macro-F1 {left_out.scores.macro_f1}"
        )
    click.echo(f"{card} tells the rest; `hark tag --models {out}` serves it")
    if examples.broken:
        context.exit(1)


def tell_broken(broken: list[str]) -> None:
    """Report the rows that were left out, the first ones with what is wrong."""
    for line in broken[:_MOST_TOLD]:
        click.echo(f"{line}: left out", err=True)
    if len(broken) > _MOST_TOLD:
        click.echo(f"and {len(broken) - _MOST_TOLD} more rows left out", err=True)
