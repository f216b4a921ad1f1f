"""Results as tidy tables, which files and data frames are made of.

Four tables hold a store's results: ``cells``, a line per cell with the fields of its scenario and
its summary; ``rounds``, a line per cell and round; ``measures``, a line per cell, measure of its
end and group; ``provenance``, a line per cell. Their column ``cell`` is the cell's address in the
store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from hgobench.errors import InputError
from hgobench.results.result import EVERY, Result
from hgobench.scenario import Scenario

if TYPE_CHECKING:
    import pandas

Kind = Literal["text", "whole", "number"]  # number: NaN and infinite ones too
Line = Sequence[Any]  # None where there is no value

ROUNDS: Mapping[str, Kind] = {
    name: "number" if name == "time" or name.endswith(("accuracy", "loss", "success")) else "whole"
    for name in EVERY
}
MEASURES: Mapping[str, Kind] = {"measure": "text", "group": "text", "value": "number"}
_SUMMARY: Mapping[str, Kind] = {
    "status": "text",
    "reason": "text",
    "test_accuracy": "number",
    "validation_accuracy": "number",
    "test_loss": "number",
    "rounds_run": "whole",  # `rounds` is the scenario's
    "stalled": "whole",
    "time": "number",
    "mean_block_size": "number",
    "mean_heard": "number",
    "mean_byzantine_heard": "number",
    "malformed": "whole",
    "coordinates": "whole",
    "bytes_up": "whole",
    "bytes_down": "whole",
    "seconds": "number",
    "server_seconds": "number",
}


@cache
def cell_kinds() -> Mapping[str, Kind]:
    """Return the columns of the table of cells.

    >>> kinds = cell_kinds()
    >>> kinds["cell"], kinds["rule"], kinds["workers"], kinds["deadline"], kinds["test_accuracy"]
    ('text', 'text', 'whole', 'number', 'number')
    """
    hints = get_type_hints(Scenario)

    def kind(name: str) -> Kind:
        types = get_args(hints[name]) or (hints[name],)
        if float in types:
            return "number"
        return "whole" if int in types else "text"

    fields = {name: kind(name) for name in Scenario.declarations()}
    return {"cell": "text", "ruleset": "text", **fields, **_SUMMARY, "right": "text"}


def cell_line(key: str, ruleset: str, result: Result) -> Line:
    """Return a result's line in the table of cells.

    ``right`` has four test examples per hexadecimal digit (`Result.right`).
    """
    scenario, summary = result.scenario, result.summary
    fields = (getattr(scenario, name) for name in scenario.declarations())
    told = (summary["rounds" if name == "rounds_run" else name] for name in _SUMMARY)
    right = None if result.right is None else result.right.hex()
    return [key, ruleset, *fields, *told, right]


def round_lines(result: Result) -> Iterator[Line]:
    """Yield a result's lines in the table of rounds, but for the column ``cell``."""
    length = len(result.rounds["round"])
    nothing = [None] * length  # an older hgobench did not know the column, or there is no target
    return zip(*(result.rounds.get(name, nothing) for name in EVERY), strict=True)


def measure_lines(result: Result) -> Iterator[Line]:
    """Yield a result's lines in the table of measures, but for the column ``cell``.

    >>> from hgobench import Scenario
    >>> measured = Result(Scenario(), {}, measures={"used/weak": 0.5, "worst_worker": 0.25})
    >>> list(measure_lines(measured))
    [('used', 'weak', 0.5), ('worst_worker', None, 0.25)]
    """
    for name, value in result.measures.items():
        measure, _, group = name.partition("/")
        yield measure, group or None, value


class Provenance:
    """The table of provenance: a line per cell, a column for each fact that any of them states.

    Example:
        >>> table = Provenance()
        >>> table.add("a1", {"torch": "2.5.1", "threads": 1, "needs": ["root"]})
        >>> table.add("b2", {"torch": "2.6.0", "threads": 1})
        >>> table.kinds
        {'cell': 'text', 'needs': 'text', 'threads': 'whole', 'torch': 'text'}
        >>> list(table.lines())
        [['a1', 'root', 1, '2.5.1'], ['b2', None, 1, '2.6.0']]
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of what is stated, which is the same for many cells
        self._stated: list[Mapping[str, Any]] = []
        self._cells: list[tuple[str, int]] = []

    def add(self, key: str, facts: Mapping[str, Any]) -> None:
        """Add the line of a cell."""
        flat = {name: _flat(value) for name, value in facts.items()}
        number = self._numbers.setdefault(json.dumps(flat, sort_keys=True), len(self._stated))
        if number == len(self._stated):
            self._stated.append(flat)
        self._cells.append((key, number))

    @property
    def kinds(self) -> dict[str, Kind]:
        """Its columns."""
        values: dict[str, set[type]] = {}
        for facts in self._stated:
            for name, value in facts.items():
                if value is not None:
                    values.setdefault(name, set()).add(type(value))
        kinds: dict[str, Kind] = {"cell": "text"}
        for name in sorted(values):
            types = values[name]
            kinds[name] = (
                "whole" if types == {int} else "number" if types <= {int, float} else "text"
            )
        return kinds

    def lines(self) -> Iterator[Line]:
        """Yield its lines."""
        kinds = self.kinds
        for key, number in self._cells:
            facts = self._stated[number]
            values = ((facts.get(name), kind) for name, kind in kinds.items() if name != "cell")
            yield [
                key,
                *(None if v is None else str(v) if kind == "text" else v for v, kind in values),
            ]


def _flat(value: Any) -> str | int | float | None:
    """Return a fact as a text or a number; a list of words as words."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value)
    if isinstance(value, bool | list | dict):
        return json.dumps(value)
    return value  # type: ignore[no-any-return]


def whole(value: Any, column: str) -> int | None:
    """Return a whole number that may be written as another kind of number.

    >>> whole(True, "stalled"), whole(3.0, "heard"), whole(None, "malformed")
    (1, 3, None)

    Raises:
        InputError: it is none.
    """
    if value is None:
        return None
    if not math.isfinite(value) or int(value) != value:
        raise InputError(f"{column}: {value}; expected a whole number")
    return int(value)


def frame(kinds: Mapping[str, Kind], lines: Iterable[Line]) -> pandas.DataFrame:
    """Return a table as a pandas data frame.

    A column of whole numbers that lacks some is of the type ``Int64``.

    Raises:
        InputError: pandas is not installed.

    Example:
        >>> frame({"rule": "text", "heard": "whole"}, [["krum", 9], ["median", None]])
             rule  heard
        0    krum      9
        1  median   <NA>
    """
    try:
        import pandas
    except ImportError:
        raise InputError(
            "to_frame: pandas is not installed: pip install 'hgobench[pandas]'"
        ) from None
    columns = list(zip(*lines, strict=True)) or [()] * len(kinds)
    made = {}
    for (name, kind), values in zip(kinds.items(), columns, strict=True):
        if kind == "whole":
            numbers = [whole(value, name) for value in values]
            dtype = "Int64" if None in numbers else "int64"
            made[name] = pandas.Series(numbers, dtype=dtype)
        elif kind == "number":
            made[name] = pandas.Series(values, dtype="float64")
        else:
            made[name] = pandas.Series(list(values), dtype=None if values else "object")
    return pandas.DataFrame(made)
