"""`hark init`: a configuration folder to edit."""

import shutil
from pathlib import Path

import click

from hark.core.errors import SettingsError
from hark.settings import SHIPPED


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def command(folder: Path) -> None:
    """Write a complete configuration into FOLDER: brands, topics, sources, the parts' addresses.

    Files that are there already are left as they are.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for shipped in sorted(SHIPPED.glob("*.toml")):
            target = folder / shipped.name
            if target.exists():
                click.echo(f"kept    {target}")
            else:
                shutil.copyfile(shipped, target)
                click.echo(f"written {target}")
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from error
    click.echo(
        f"Next: edit {folder / 'brands.toml'} and {folder / 'sources.toml'}, "
        f"then `hark check --config {folder}` and `hark up --config {folder}`"
    )
