"""A folder of models: which one serves, which is a candidate, and which served before.

    TASK.model, TASK.json, TASK.md    what serves, and its card
    TASK-candidate/                   the same files of the model that was trained last and is not promoted
    TASK-previous/                    those of the model that served before

Each of the two folders can be served by itself. A promotion copies what serves beside, puts the files that the new model
names in place, then the model by one rename, then its card: a process that is killed anywhere leaves one whole model serving, and the next one
finishes what it began. A file that a model needs beside it is called TASK-….second, by a name of its own, so that none
is ever overwritten by another model's. Other files of the folder are left alone.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enrich.model import Task
from hark.core.errors import SettingsError


class Shelf:
    """What stands in a folder for one task. Used within `opened`."""

    def __init__(self, folder: Path, task: Task) -> None:
        self.folder = folder
        self.task = task
        self.model = folder / f"{task}.model"
        self.candidate = folder / f"{task}-candidate"
        self.previous = folder / f"{task}-previous"
        self._part = folder / f"{task}-new.part"
        self._gone = folder / f"{task}-gone.part"
        self._replaced = folder / f"{task}-replaced"
        """Its existence says that a promotion is under way: it is a copy of what served before it."""

    @property
    def serves(self) -> bool:
        """Whether a model serves."""
        return self.model.exists()

    def part(self) -> Path:
        """Return an empty folder to write a model and its card into; `keep` makes it the candidate."""
        self._remove(self._part)
        self._part.mkdir()
        return self._part

    def keep(self) -> None:
        """Make what was written the candidate, in place of one that stands there."""
        self._remove(self.candidate)
        self._part.rename(self.candidate)

    def promote(self, source: Path) -> None:
        """Let the candidate, or the previous model, serve; what serves becomes the previous one."""
        if not (source / self.model.name).exists():
            raise SettingsError(f"{source}: no model for {self.task} is here")
        if self.serves:
            self._copy(self._files(self.folder))
            self._part.rename(self._replaced)
        self._finish(source)

    def _finish(self, source: Path) -> None:
        incoming = self._files(source)
        self._copy(incoming)
        for path in sorted(incoming, key=self._order):
            (self._part / path.name).replace(self.folder / path.name)
        self._drop_all_but(incoming)
        self._remove(source)
        self._settle()

    def _copy(self, files: list[Path]) -> None:
        part = self.part()
        for path in files:
            shutil.copy2(path, part)
            with (part / path.name).open("rb+") as file:
                os.fsync(file.fileno())

    def _order(self, path: Path) -> int:
        """Put what the model needs before it, and its card behind it."""
        return 1 if path.name == self.model.name else 2 if path.stem == self.task else 0

    def _drop_all_but(self, files: list[Path]) -> None:
        names = {path.name for path in files}
        for path in self._files(self.folder):
            if path.name not in names:
                path.unlink()

    def _settle(self) -> None:
        """Make the copy of what served before the previous model, where there is one."""
        self._remove(self._part)
        if self._replaced.exists():
            self._remove(self.previous)
            self._replaced.rename(self.previous)

    def _remove(self, folder: Path) -> None:
        """Remove a folder that nobody is to find half removed."""
        if folder.exists():
            shutil.rmtree(self._gone, ignore_errors=True)
            folder.rename(self._gone)
            shutil.rmtree(self._gone)

    def recover(self) -> None:
        """Finish what a process that was killed began."""
        shutil.rmtree(self._gone, ignore_errors=True)
        self._remove(self._part)
        if not self._replaced.exists():
            return
        for source in (self.candidate, self.previous):
            if _same(source / self.model.name, self.model):
                self._finish(source)
                return
        if _same(self._replaced / self.model.name, self.model):
            self._drop_all_but(self._files(self._replaced))
            self._remove(self._replaced)
        else:
            self._settle()

    def _files(self, folder: Path) -> list[Path]:
        own = [folder / f"{self.task}.{suffix}" for suffix in ("model", "json", "md")]
        return [path for path in own if path.exists()] + sorted(folder.glob(f"{self.task}-*.second"))


@contextmanager
def opened(folder: Path, task: Task) -> Iterator[Shelf]:
    """Open a folder for one task; another process waits until it is closed. Raises SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            shelf = Shelf(folder, task)
            shelf.recover()
            yield shelf
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror or error}") from error


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()
