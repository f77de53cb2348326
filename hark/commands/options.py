"""Options that every command shares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def common(command: F) -> F:
    """Add --config and --data, handed over as `config: Path | None` and `data: Path | None`."""
    data = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the embedded parts. Default: HARK_DATA, or ./hark-data",
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the settings. Default: HARK_CONFIG, or the shipped ones",
    )
    return config(data(command))


PORT = click.IntRange(0, 65_535)
"""What may be said of a port; 0 stands for one that is free."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
