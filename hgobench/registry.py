"""Names to objects: ``name[parameter=value]``, entry points, and ``module:Class``.

Every kind of thing that a scenario names (rules, attacks, partitions, ...) has one `Registry`,
which lives next to the things it lists. This module knows no kind.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from hgobench.boundary import PluginError, importing, making, message, plain, told
from hgobench.errors import InputError, shown, unknown
from hgobench.notation import (
    Value,
    format_value,
    needs_no_quotes,
    parse_value,
    pieces,
    quoted,
    specification,
    unquoted,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing: its name, how to make it, and who brought it."""

    name: str
    factory: Callable[..., T]
    origin: str  # "hgobench", a distribution's name, or "module:Class"

    @cached_property
    def signature(self) -> dict[str, inspect.Parameter]:
        """The factory's named parameters; worked out once, as rules are made for every cell."""
        try:
            named = inspect.signature(self.factory).parameters.values()
        except Exception as error:  # it may be a plug-in's
            raise InputError(
                f"{self.name}: its parameters can't be read ({message(error)}); wrap it in a "
                "function"
            ) from error
        return {p.name: p for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _read(text: str, parameter: inspect.Parameter, about: str = "") -> Value:
    """Read a parameter by its type: text stays text; 5 and 5.0 are one spelling of a float."""
    text = text.strip()
    if text.startswith('"'):
        return unquoted(text, about)
    annotation = str(parameter.annotation).replace(" ", "")
    if annotation in ("str", "str|None", "<class'str'>"):
        nothing = "None" in annotation and text.lower() == "none"
        return None if nothing else text
    value = parse_value(text, about)
    is_float = "float" in str(parameter.annotation) or isinstance(parameter.default, float)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole and is_float):
        return value
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise InputError(f"{about}{shown(text)}; expected a number below 1.8e308, or inf") from None


def _is_default(value: Value, parameter: inspect.Parameter) -> bool:
    """Say whether a value is the default: true is not 1, and what can't be written is neither."""
    default = parameter.default
    if not isinstance(default, bool | int | float | str | None):
        return False
    return isinstance(value, bool) == isinstance(default, bool) and value == default


def write_parameter(value: Value, parameter: inspect.Parameter) -> str:
    """Write a parameter's value as a specification has it; quotes only where it needs them."""
    if not isinstance(value, str):
        return format_value(value)
    try:
        same = needs_no_quotes(value) and _read(value, parameter) == value
    except InputError:
        same = False
    return value if same else quoted(value)


class Registry(Generic[T]):
    """The known things of one kind.

    Args:
        field: what messages call the kind, and the scenario's field: ``"attack"``.
        plural: the word for ``hgobench list``, and the entry-point group ``hgobench.<plural>``.
        builtins: name to factory.
        context: parameters that the caller supplies and a user may not set by name.
        prefixes: what may be written before a name, as in ``nnm+krum``; None: nothing.
        assemble: makes one thing of the prefixes and the last name; None: the caller of
            `split` does it.
        alone: the name that follows a prefix that is written alone; None: it can't be.
        aliases: other names of built-ins.
        kind: the class of what the names make; None: `check`, or the caller of `build`, says so.
        check: returns what was made, given its specification, or refuses it; None: nothing to do.
    """

    def __init__(
        self,
        field: str,
        plural: str,
        builtins: Mapping[str, Callable[..., T]],
        context: frozenset[str] = frozenset(),
        prefixes: Registry[Any] | None = None,
        assemble: Callable[[list[Any], T], T] | None = None,
        alone: str | None = None,
        aliases: Mapping[str, str] | None = None,
        kind: type[T] | None = None,
        check: Callable[[object, str], T] | None = None,
    ) -> None:
        self.field, self.plural, self.context = field, plural, context
        self.prefixes, self.assemble, self.alone = prefixes, assemble, alone
        self.aliases, self.kind = dict(aliases or {}), kind
        self.check = check
        self.behind: Registry[Any] | None = None  # the registry of what these prefixes precede
        if prefixes is not None:
            prefixes.behind = self
        self.builtins = {name: Entry(name, make, "hgobench") for name, make in builtins.items()}

    @cached_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=f"hgobench.{self.plural}"):
            found.setdefault(point.name, []).append(point)
        return found

    def names(self) -> list[str]:
        """Return all names, built-ins first, then those of installed plug-ins."""
        return [*self.builtins, *(name for name in self._plugins if name not in self.builtins)]

    def split(self, text: str) -> list[str]:
        """Return the specifications of a chain, ``"nnm+krum"``, the thing's own last.

        Raises:
            InputError: a part is missing, or a quote or a bracket has no partner.
        """
        if self.prefixes is None or not isinstance(text, str):
            return [text]
        parts = pieces(text, "+", f"{self.field}: ")
        if not all(parts) and len(parts) > 1:
            raise InputError(
                f"{self.field}: {shown(text)}; expected a name at both sides of each +"
            )
        if self.alone is not None and self.bare(parts[-1]) in self.prefixes.names():
            parts.append(self.alone)
        return parts

    @staticmethod
    def bare(text: str) -> str:
        """Return the name of a specification without its parameters; other texts unchanged."""
        try:
            return specification(text)[0]
        except InputError:
            return text.strip()

    def named(self, text: str) -> list[tuple[Registry[Any], str]]:
        """Return each bare name in a specification with the registry that knows it.

        Raises:
            InputError: a part is missing, or a quote or a bracket has no partner.
        """
        *before, last = (self.bare(part) for part in self.split(text))
        last = self.aliases.get(last, last)
        return [*((self.prefixes, name) for name in before if self.prefixes), (self, last)]

    def entry(self, name: str) -> Entry[T]:
        """Find a thing by its bare name, importing a plug-in if it takes one."""
        name = self.aliases.get(name, name)
        if ":" in name:
            return self._imported(name)
        if name in self.builtins:
            return self.builtins[name]
        if name in self._plugins:
            return self._plugin(name)
        own = ", or module:Class" if "." in name else ""
        if self.prefixes is not None and name in self.prefixes.names():
            raise InputError(
                f"{self.field}: {name!r} is written before a {self.field}, as in {name}+median"
            )
        if self.behind is not None and name in self.behind.names():
            article = "an" if self.behind.field[0] in "aeiou" else "a"
            raise InputError(
                f"{self.field}: {name!r} is {article} {self.behind.field}, of which a chain has "
                f"one, the last; before it come {', '.join(self.names())}"
            )
        raise InputError(
            unknown(
                self.field,
                name,
                [*self.names(), *self.aliases, *(self.prefixes.names() if self.prefixes else ())],
                hint=f"hgobench list {self.plural}{own}",
            )
        )

    def _plugin(self, name: str) -> Entry[T]:
        points = self._plugins[name]
        owners = [point.dist.name if point.dist else point.value for point in points]
        if len(points) > 1:
            raise InputError(
                f"{self.field}: {name!r} is registered by {' and by '.join(sorted(owners))}; "
                "uninstall one of them, or name the class as module:Class"
            )
        try:
            with importing(points[0].value.partition(":")[0]):
                return Entry(name, points[0].load(), owners[0])
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{self.field}: {name!r} of {owners[0]} does not load: {_said(error)}"
            ) from error

    def _imported(self, name: str) -> Entry[T]:
        module, _, attribute = name.rpartition(":")
        file = module.replace("\\", "/").rpartition("/")[2]
        if file != module or file.endswith(".py"):
            raise InputError(
                f"{self.field}: {name!r} names a file; write "
                f"{file.removesuffix('.py')}:{attribute}, from the folder that holds {file}"
            )
        try:
            with importing(module):
                home = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise InputError(f"{self.field}: {name!r} does not import: {_said(error)}") from error
        known = [key for key in vars(home) if not key.startswith("_")]
        if attribute not in known:
            raise InputError(unknown(f"{self.field}: {name!r}: {module}", attribute, known))
        factory = getattr(home, attribute)
        if not callable(factory):
            raise InputError(f"{self.field}: {name!r} is {shown(factory)}; expected a class")
        return Entry(name, factory, name)

    def _parse(self, text: str) -> tuple[Entry[T], dict[str, Value]]:
        if not isinstance(text, str):
            raise InputError(
                f"{self.field}: {shown(text)}; expected name or name[parameter=value,...]"
            )
        name, parameters = specification(text, f"{self.field}: ")
        entry = self.entry(name)
        about = f"{self.field}: {shown(text)}: "
        settable = [name for name in entry.signature if name not in self.context]
        given: dict[str, Value] = {}
        for position, item in enumerate(parameters):
            key, equals, value = item.partition("=")
            if not equals or item.startswith('"'):  # by_class[2]
                if position >= len(settable):
                    raise InputError(f"{about}too many parameters")
                key, value = settable[position], item
            key = key.strip()
            if key not in settable:
                if not settable:
                    raise InputError(f"{about}{entry.name} takes no parameters")
                raise InputError(unknown(f"{about}parameter", key, settable))
            if key in given:
                raise InputError(f"{about}{key} is given twice")
            given[key] = _read(value, entry.signature[key], f"{about}{key}: ")
        return entry, given

    def parameters(self, name: str) -> list[str]:
        """Return what a user may set of a thing, as written: ``["path", "label=label"]``."""
        return [
            parameter.name
            if parameter.default is parameter.empty
            else f"{parameter.name}={write_parameter(parameter.default, parameter)}"
            for parameter in self.entry(name).signature.values()
            if parameter.name not in self.context
        ]

    def files(self, text: str) -> list[str]:
        """Return the files that a specification names, as parameters called ``path``."""
        *before, last = self.split(text)
        paths = [path for part in before if self.prefixes for path in self.prefixes.files(part)]
        _, given = self._parse(last)
        return [*paths, str(given["path"])] if "path" in given else paths

    def canonical(self, text: str) -> str:
        """Return the one spelling of a specification: parameters in order, defaults left out."""
        *before, text = self.split(text)
        if self.prefixes and before:
            return "+".join([*map(self.prefixes.canonical, before), self.canonical(text)])
        entry, given = self._parse(text)
        parts = [
            f"{name}={write_parameter(given[name], parameter)}"
            for name, parameter in entry.signature.items()
            if name in given and not _is_default(given[name], parameter)
        ]
        return entry.name + (f"[{','.join(parts)}]" if parts else "")

    def origin(self, text: str) -> str:
        """Return who brought the thing: ``hgobench``, a distribution, or ``module:Class``.

        Nothing is imported for it: the text may come from somebody else's results.
        """
        for registry, name in self.named(text):
            if name not in registry.builtins:
                owners = [
                    point.dist.name for point in registry._plugins.get(name, ()) if point.dist
                ]
                return owners[0] if owners else name
        return "hgobench"

    def function(self, text: str) -> Callable[..., Any] | None:
        """Return the plain function that `text` names, or None if it names something to make.

        Raises:
            InputError: parameters were given to a function: it is called, not made.
        """
        entry, _ = self._parse(text)
        if not inspect.isfunction(entry.factory) or entry.origin == "hgobench":
            return None
        if text.strip() != entry.name:
            raise InputError(
                f"{self.field}: {text!r}: {entry.name} is a function and takes no parameters here; "
                "write a class"
            )
        return entry.factory

    def build(self, text: str, **context: Any) -> T:
        """Make the thing that `text` names.

        Args:
            text: ``name``, ``name[parameter=value,...]``, or the same with ``module:Class``; where
                `assemble` is known, with prefixes before it.
            context: what the caller knows (the tolerated f, the number of classes, ...); each
                factory receives those that its signature names.

        Raises:
            InputError: the name or a parameter is unknown, or the factory refuses its values.
        """
        if self.assemble and self.prefixes and len(parts := self.split(text)) > 1:
            *before, last = parts
            steps = [self.prefixes.build(part, **context) for part in before]
            return self.assemble(steps, self.build(last, **context))
        entry, given = self._parse(text)
        accepted = {k: v for k, v in context.items() if k in entry.signature and k not in given}
        missing = [
            name
            for name, parameter in entry.signature.items()
            if parameter.default is parameter.empty
            and name not in (*given, *accepted, *self.context)
        ]
        if missing and entry.origin == "hgobench":
            written = ",".join(f"{name}=.." for name in missing)
            raise InputError(
                f"{self.field}: {text!r}: {' and '.join(missing)} missing; write "
                f"{entry.name}[{written}]"
            )
        self._check_kind(text, entry.factory)
        try:
            with making(self.field, text, entry.factory, (InputError, TypeError, ValueError)):
                made = entry.factory(**given, **accepted)
        except InputError as error:
            about = f"{self.field}: "
            raise InputError(
                f"{about}{text!r}: {problem.removeprefix(about)}" for problem in error.problems
            ) from error
        except TypeError as error:
            supplied = ", ".join(sorted(self.context)) or "nothing"
            raise InputError(
                f"{self.field}: {text!r}: {message(error)}; hgobench supplies {supplied}"
            ) from error
        except ValueError as error:
            raise InputError(f"{self.field}: {text!r}: {message(error)}") from error
        except Exception as error:
            raise InputError(f"{self.field}: {text!r}: {_said(error)}") from error
        if self.kind is not None and not isinstance(made, self.kind):
            raise InputError(
                f"{self.field}: {text!r} makes {_home(type(made))}; expected {self._expected()}"
            )
        return made if self.check is None else self.check(made, repr(text))

    def _check_kind(self, text: str, factory: object) -> None:
        """Refuse what can't make a thing of this kind, before it is called."""
        if self.kind is None:
            return
        if isinstance(factory, type):
            if not issubclass(factory, self.kind):
                raise InputError(
                    f"{self.field}: {text!r} is {_home(factory)}; expected {self._expected()}"
                )
        elif not inspect.isroutine(factory) and not isinstance(factory, partial):
            raise InputError(
                f"{self.field}: {text!r} is an instance of {_home(type(factory))}; expected "
                f"{self._expected()}"
            )

    def _expected(self) -> str:
        assert self.kind is not None
        return f"a subclass of {_home(self.kind)}"


def _home(cls: type) -> str:
    """Return where a class is imported from: its package, if that names it."""
    package = cls.__module__.rpartition(".")[0]
    named = getattr(sys.modules.get(package), cls.__name__, None) is cls
    return plain(f"{package if named else cls.__module__}.{cls.__qualname__}")


def _said(error: BaseException) -> str:
    """Return the exception that plug-in code raised, and a hint at the likely cause."""
    said = error.message if isinstance(error, PluginError) else told(error)
    if said.startswith("SystemExit"):
        said += "; what runs as a script belongs under if __name__ == '__main__':"
    return said
