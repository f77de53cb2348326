"""`hark train`: a model for sentiment or topics from labelled texts."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from hark.commands.options import common
from hark.core.errors import SettingsError

if TYPE_CHECKING:  # these load libraries that --help does without
    from enrich.comparison import Comparison, Served
    from enrich.examples import Examples
    from enrich.finetune import Fitted
    from enrich.second_opinion import Second
    from enrich.shelf import Shelf
    from enrich.training import Training

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
@click.option(
    "--held-out",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Another file with the same columns, on which to compare with the model that serves.",
)
@click.option(
    "--second-opinion",
    help="Sentence model to fine-tune, a folder or an installed package: asked where the model is least sure. Takes minutes.",
)
@click.option(
    "--model",
    "kind",
    type=click.Choice(["additive", "spacy"]),
    default="additive",
    show_default=True,
    help="What learns: sums of words, pairs and character n-grams, or a text classifier of spaCy's.",
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
    held_out: Path | None,
    second_opinion: str | None,
    kind: str,
    seed: int,
) -> None:
    """Learn labels of any name from the rows of a CSV file (UTF-8; .csv.gz is unpacked).

    The folder holds a sentiment model and a topic model side by side, each with its card (TASK.json, TASK.md).
    `hark tag --models` serves both. A row that cannot be read is reported and left out; the exit code is then 1.

    Where a model for the task serves already, the new one takes its place only if it is better, beyond noise, on
    labelled texts that neither learnt from: those of FILE that are new to the one that serves, or --held-out.
    Otherwise it is kept beside as a candidate; `hark models` promotes it all the same, or takes a promotion back.
    """
    # Small matrices: more threads than one would only get in each other's way, and could change the last digits.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from enrich.card import write_card
    from enrich.chain import before_models
    from enrich.comparison import Served
    from enrich.examples import Columns, read
    from enrich.features import names_of_brands
    from enrich.model import Kind, Task, write
    from enrich.phrasebook import load as load_phrasebook
    from enrich.shelf import opened
    from enrich.training import steps_of_training, train
    from hark.settings import load
    from hark.wiring import chain_of

    if second_opinion is not None:
        from enrich.second_opinion import sentence_model, torch_for

        sentence_model(second_opinion)
        torch_for("--second-opinion")
    settings = load(config, data)
    columns = Columns(text, label, group, brand, source)
    examples = read(file, columns)
    tell_broken(examples.broken)
    others = read(held_out, columns) if held_out else None
    tell_broken([f"{held_out} {line}" for line in others.broken] if others else [])
    book, names = load_phrasebook(settings.config), frozenset(names_of_brands(settings.brands))
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
            book,
            seed,
            lambda: bar.update(1),
            [step for step in chain.steps if step.name == "intent"],
            cast(Kind, kind),
        )
    for name, count in found.rare.items():
        click.echo(f"{label} {name!r} has {count} texts, too few to learn from: left out", err=True)
    folds, left_out = found.folds.scores, found.left_out
    click.echo(
        f"{task}: {folds.texts:,} texts, {len(found.model.labels)} labels. "
        f"Validated on texts unseen: accuracy {folds.accuracy}, macro-F1 {folds.macro_f1}"
    )
    if left_out is not None:
        click.echo(
            f"on brands unseen: accuracy {left_out.scores.accuracy}, macro-F1 {left_out.scores.macro_f1}"
        )
    fitted = _fine_tuned(found, second_opinion, seed) if second_opinion is not None else None
    with opened(out, cast(Task, task)) as shelf:
        folder = shelf.part()
        seconds: dict[str, Second] = {}
        if fitted is not None:
            found, seconds = _with_second_opinion(found, fitted, folder)
        comparison = _beside_what_serves(shelf, found, Served(steps, names, book, seconds), others)
        write(found.model, folder)
        write_card(found, examples, file.name, datetime.now(UTC).date(), folder, comparison, fitted)
        shelf.keep()
        _decide(shelf, comparison)
    if examples.broken:
        context.exit(1)


def _fine_tuned(found: "Training", base: str, seed: int) -> "Fitted":
    """Return a second opinion beside the model, and tell how both do."""
    from enrich.finetune import fit, steps_of_fine_tuning

    with click.progressbar(
        length=steps_of_fine_tuning(found),
        label="fine-tuning",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:
        fitted = fit(found, base, seed, lambda: bar.update(1))
    without, together = fitted.without.scores, fitted.together.scores
    click.echo(
        f"with a second opinion on {fitted.asked:,} of {together.texts:,} texts unseen: accuracy {together.accuracy}, "
        f"macro-F1 {together.macro_f1}; on the same texts without it: {without.accuracy}, {without.macro_f1}"
    )
    return fitted


def _with_second_opinion(
    found: "Training", fitted: "Fitted", folder: Path
) -> "tuple[Training, dict[str, Second]]":
    """Write the second opinion; return the training with a model that asks it, and the opinion by its hash."""
    from msgspec import structs

    from enrich.second_opinion import read, write

    task = found.model.task
    digest = write(fitted.opinion, folder, task)
    model = structs.replace(found.model, second=digest)
    return structs.replace(found, model=model, said=fitted.said), {digest: read(folder, task, digest)}


def _beside_what_serves(
    shelf: "Shelf", found: "Training", served: "Served", held_out: "Examples | None"
) -> "Comparison | None":
    """Return how the new model does beside the one that serves; None where none does."""
    from enrich.comparison import compare, not_compared
    from enrich.model import read, seconds_of

    if not shelf.serves:
        return None
    try:
        serving = read(shelf.model)
        if serving.second:
            second = seconds_of(shelf.folder, [serving])[serving.task]
            served = served._replace(seconds={**served.seconds, serving.second: second})
    except SettingsError as error:
        return not_compared(str(error))
    return compare(found, serving, served, held_out)


def _decide(shelf: "Shelf", comparison: "Comparison | None") -> None:
    """Let the candidate serve if it is better, or nothing serves; say what was done, and why."""
    from enrich.card import told

    folder, task = shelf.folder, shelf.task
    if comparison is None:
        shelf.promote(shelf.candidate)
        click.echo(f"{folder / f'{task}.md'} tells the rest; `hark tag --models {folder}` serves it")
        return
    click.echo(told(comparison))
    if comparison.better:
        shelf.promote(shelf.candidate)
        click.echo(
            f"That is better beyond noise: promoted, {folder} serves it. The one before is kept in {shelf.previous}: "
            f"`hark models rollback {folder} --task {task}` brings it back"
        )
        return
    if comparison.difference is not None:
        click.echo("That is not better beyond noise: not promoted")
    click.echo(
        f"{folder} serves what it served. The new model is kept in {shelf.candidate}: "
        f"`hark models promote {folder} --task {task}` lets it serve all the same"
    )


def tell_broken(broken: list[str]) -> None:
    """Report the rows that were left out, the first ones with what is wrong."""
    for line in broken[:_MOST_TOLD]:
        click.echo(f"{line}: left out", err=True)
    if len(broken) > _MOST_TOLD:
        click.echo(f"and {len(broken) - _MOST_TOLD} more rows left out", err=True)
