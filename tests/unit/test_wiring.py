"""Which trained models the center serves."""

import shutil
from pathlib import Path

import pytest

from hark import settings
from hark.core.errors import SettingsError
from hark.wiring import chain_of


def test_the_models_that_the_settings_name_are_served(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(settings.SHIPPED, config)
    center = config / "hark.toml"
    center.write_text(center.read_text().replace('models = ""', 'models = "trained"'))
    with pytest.raises(SettingsError, match="trained"):
        chain_of(settings.load(config, tmp_path))  # the folder is not there, so it was looked for
