"""`hark evaluate`: tags measured against labels that people gave."""

import sys
from pathlib import Path

import click
import msgspec

from hark.commands.options import common, json_option
from hark.commands.train import examples_options, tell_broken
from hark.core.errors import SettingsError

_TOGETHER = 500


@click.command()
@common
@examples_options
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that `hark train` wrote. Default: the chain without training",
)
@json_option
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
    models: Path | None,
    as_json: bool,
) -> None:
    """Tag the labelled rows of a CSV file and compare: accuracy, macro-F1, and each label's precision, recall and F1.

    Each with a 95 % interval by the bootstrap; texts of one group are drawn together. Of topics, the first is
    compared. A row that cannot be read is reported and left out; the exit code is then 1.
    """
    from enrich.card import evaluation_json, evaluation_text
    from enrich.examples import Columns, read
    from hark.core.clock import EARLIEST
    from hark.core.mention import Mention
    from hark.settings import load
    from hark.wiring import chain_of

    settings = load(config, data)
    if models is not None and not models.is_dir():
        raise click.UsageError(f"no folder {models}: `hark train` writes one")
    examples = read(file, Columns(text, label, group, brand, source))
    tell_broken(examples.broken)
    if not examples.texts:
        raise SettingsError(f"{file}: no row has a {label}")
    chain = chain_of(settings, models)
    said: list[str] = []
    sure: list[float] = []
    with click.progressbar(
        length=len(examples), label="texts", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        for begin in range(0, len(examples), _TOGETHER):
            texts = examples.texts[begin : begin + _TOGETHER]
            mentions = [
                Mention(f"evaluate:{i}", "evaluate", each, EARLIEST, EARLIEST) for i, each in enumerate(texts)
            ]
            for tags in chain.tag(mentions):
                first = tags.topics[0] if tags.topics else None
                said.append(tags.sentiment.label if task == "sentiment" else first.id if first else "")
                sure.append(
                    tags.sentiment.confidence if task == "sentiment" else first.confidence if first else 0.0
                )
            bar.update(len(texts))
    if as_json:
        click.echo(msgspec.json.encode(evaluation_json(examples, said, sure, task, chain.version)).decode())
    else:
        click.echo(evaluation_text(examples, said, sure))
    if examples.broken:
        context.exit(1)
