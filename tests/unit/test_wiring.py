"""Which trained models the center serves."""

import re
import shutil
from pathlib import Path

import pytest

from hark import settings
from hark.commands.up import run_center
from hark.core.errors import SettingsError
from hark.wiring import chain_of


def test_the_models_that_the_settings_name_are_served(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(settings.SHIPPED, config)
    center = config / "hark.toml"
    center.write_text(center.read_text().replace('models = ""', 'models = "trained"'))
    own = settings.load(config, tmp_path)
    with pytest.raises(SettingsError, match="trained: no model is here") as told:
        chain_of(own)  # the folder is not there, so it was looked for
    # `hark up` looks before it starts anything, and says the same.
    with pytest.raises(SettingsError, match=f"^{re.escape(str(told.value))}$"):
        run_center(own, "127.0.0.1", 0)
    assert not (tmp_path / "roles.json").exists()
    (config / "trained").mkdir()
    (config / "trained" / "topic.model").write_bytes(b"no model")
    with pytest.raises(SettingsError, match=r"topic\.model: ") as told:
        chain_of(own)
    with pytest.raises(SettingsError, match=f"^{re.escape(str(told.value))}$"):
        run_center(own, "127.0.0.1", 0)
