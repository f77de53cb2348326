"""What is wrong with a query, and where."""

from hark.core.errors import SettingsError

_WIDTH = 70


class QueryError(SettingsError):
    """A query cannot be understood; the text says where, what was found and expected, and what may be meant.

    `position` counts characters from 0; `line` and `column` from 1; `problem` and `hint` are the sentences of
    the message without the picture.
    """

    def __init__(self, text: str, position: int, problem: str, hint: str = "") -> None:
        self.position = min(position, len(text))
        self.line = text.count("\n", 0, self.position) + 1
        self.column = self.position - (text.rfind("\n", 0, self.position) + 1) + 1
        self.problem = problem
        self.hint = hint
        place = f"line {self.line}, column {self.column}" if "\n" in text else f"position {self.column}"
        said = f"{place}: {problem}" + (f"; {hint}" if hint else "")
        super().__init__(f"{said}\n{_picture(text, self.position)}")


def _picture(text: str, position: int) -> str:
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line, at = text[begin : None if end < 0 else end], position - begin
    cut = max(0, at - _WIDTH // 2)
    before = ("…" if cut else "") + line[cut:at]
    after = line[at : cut + _WIDTH] + ("…" if len(line) > cut + _WIDTH else "")
    shown = "".join(character if character.isprintable() else " " for character in before + after)
    return f"  {shown}\n  {' ' * len(before)}^"
