"""The errors of Hark, one tree.

HarkError
├── SettingsError    what the user configured or typed is wrong; the program ends with exit code 2
├── TransientError   try again later: a server is away, a limit is reached (carries how long to wait)
├── RefusedError     this one item cannot be processed; it goes to the rejected log with the reason
└── FatalError       going on would lose something; the process ends and its supervisor decides

Errors of libraries are translated into these once, at the boundary where the library is called.
"""


class HarkError(Exception):
    """Base of all errors that Hark raises on purpose; its text is written for the person at the terminal."""


class SettingsError(HarkError):
    """A setting or an argument is wrong. The text names the file, the key, and what was expected."""


class TransientError(HarkError):
    """Something is away for now. `wait_seconds` says when trying again makes sense; None leaves it to back-off."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class RefusedError(HarkError):
    """One item is not acceptable, now or ever; the text is the reason kept beside its original bytes."""


class FatalError(HarkError):
    """The process must stop: nothing sensible can be done here, and going on would break a promise."""
