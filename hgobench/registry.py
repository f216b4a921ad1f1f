"""Names to objects: ``name[parameter=value]``, entry points, and ``module:Class``.

Every kind of component that a scenario names (rules, attacks, partitions, ...) has one `Registry`,
in the package that it lists. This module knows none of these kinds.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

from hgobench.boundary import (
    Boundary,
    PluginError,
    error_text,
    foreign,
    importing,
    installed,
    making,
    message,
    own,
    packages,
    plain,
    raised_at,
)
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


def path_with(folder: str | Path) -> list[str]:
    """Return this process's import path with a folder right after the standard library.

    So ``module:Class`` is the folder's module, whatever is installed under that name or lies in
    PYTHONPATH, and a file ``random.py`` in it breaks nothing.

    >>> path = path_with("/home/me/rules")
    >>> path.index(sysconfig.get_path("stdlib")) < path.index("/home/me/rules") < len(path) - 1
    True
    """
    library = sysconfig.get_path("stdlib")
    standard = [path for path in sys.path if path.startswith(library) and "-packages" not in path]
    others = [path for path in sys.path if path not in (*standard, str(folder))]
    return [*standard, str(folder), *others]


# What hgobench imports itself, as modules.
NEEDED = (
    "PIL", "cmaes", "jinja2", "joblib", "jsonschema", "llvmlite", "matplotlib", "numpy",
    "platformdirs", "psutil", "pytest", "rich", "sklearn", "scipy", "tabulate", "threadpoolctl",
    "torch", "typer",
)  # fmt: skip


def modules_of(folder: Path) -> list[str]:
    """Return the import path with a user's folder right after the standard library.

    Raises:
        InputError: a file in it has the name of a module that hgobench needs and would be imported
            in its place.

    >>> modules_of(Path("/home/me/rules")) == path_with("/home/me/rules")
    True
    """
    taken = [
        file
        for name in NEEDED
        if name not in sys.modules
        for file in (f"{name}.py", f"{name}/__init__.py")
        if (folder / file).is_file() and not installed(folder / file)
    ]
    if taken:
        raise InputError(
            f"working folder: {file} would be imported in place of the package that hgobench "
            "needs; rename it, or call hgobench from another folder"
            for file in taken
        )
    return path_with(folder)


@contextmanager
def working_folder_first() -> Iterator[None]:
    """Import modules of the working folder in the body, before others of the same name.

    Raises:
        InputError: it holds one that hgobench needs itself.

    >>> before = list(sys.path)
    >>> with working_folder_first():
    ...     str(Path.cwd()) in sys.path
    True
    >>> sys.path == before
    True
    """
    before = list(sys.path)
    with suppress(OSError):  # a folder that is gone holds no module
        sys.path[:] = modules_of(Path.cwd())
    try:
        yield
    finally:
        sys.path[:] = before


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered component.

    Attributes:
        name: as it is written.
        factory: the class or function that constructs it.
        origin: who provides it: ``"hgobench"``, a distribution's name, or ``"module:Class"``.

    Example:
        >>> from hgobench.data import partitions
        >>> entry = partitions.registry.entry("iid")
        >>> entry.factory.__name__, entry.origin, list(entry.signature)
        ('Iid', 'hgobench', [])
    """

    name: str
    factory: Callable[..., T]
    origin: str

    @cached_property
    def signature(self) -> dict[str, inspect.Parameter]:
        """The factory's named parameters; inspected once, as every cell constructs its rule."""
        try:
            parameters = inspect.signature(self.factory).parameters.values()
        except Exception as error:  # it may be a plug-in's
            raise InputError(
                f"{self.name}: its parameters can't be read ({message(error)}); wrap it in a "
                "function"
            ) from error
        return {
            p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }


def _read(text: str, parameter: inspect.Parameter, prefix: str = "") -> Value:
    """Read a parameter by its type: text stays text; 5 and 5.0 are one spelling of a float."""
    text = text.strip()
    if text.startswith('"'):
        return unquoted(text, prefix)
    annotation = str(parameter.annotation).replace(" ", "")
    if annotation in ("str", "str|None", "<class'str'>"):
        is_none = "None" in annotation and text.lower() == "none"
        return None if is_none else text
    value = parse_value(text, prefix)
    is_float = "float" in str(parameter.annotation) or isinstance(parameter.default, float)
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not (is_integer and is_float):
        return value
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        raise InputError(
            f"{prefix}{shown(text)}; expected a number below 1.8e308, or inf"
        ) from None


def _is_default(value: Value, parameter: inspect.Parameter) -> bool:
    """Say whether a value is the default; true is not 1."""
    default = parameter.default
    if not isinstance(default, bool | int | float | str | None):
        return False
    return isinstance(value, bool) == isinstance(default, bool) and value == default


def write_parameter(value: Value, parameter: inspect.Parameter) -> str:
    """Write a parameter's value for a specification, with quotes only where they are needed.

    >>> parameter = inspect.Parameter("path", inspect.Parameter.KEYWORD_ONLY, annotation=str)
    >>> write_parameter("a.csv", parameter), write_parameter("a,b.csv", parameter)
    ('a.csv', '"a,b.csv"')
    """
    if not isinstance(value, str):
        return format_value(value)
    try:
        plain_enough = needs_no_quotes(value) and _read(value, parameter) == value
    except InputError:
        plain_enough = False
    return value if plain_enough else quoted(value)


class Registry(Generic[T]):
    """The components of one kind.

    Args:
        field: the scenario's field, which is also the kind's name in messages: ``"attack"``.
        plural: the word for ``hgobench list``, and the entry-point group ``hgobench.<plural>``.
        builtins: name to factory.
        context: parameters that the caller supplies and a user may not set by name.
        prefixes: the registry of what may be written before a name, as in ``nnm+krum``; None:
            nothing may.
        assemble: constructs the chain, given the prefixes and the last component; None: the caller
            of `split` does it.
        alone: the name that is meant if a prefix is written without one; None: that is refused.
        aliases: other names of built-ins.
        kind: the class of all components; None: `check` or the caller of `build` tests it.
        check: called with a new component and its specification; returns it or refuses it; None:
            no check.
        adapt: called with the factory of a plug-in; returns the one that is called; None: itself.
        wanted: the classes that a plug-in may subclass, in messages; empty: `kind`.
        noun: what one of them is, in messages, with its article; empty: ``"a"`` or ``"an"`` and
            `field`.

    Example:
        >>> colours = Registry("colour", "colours", {"grey": lambda level=0.5: f"grey {level}"})
        >>> colours.build("grey[level=0.25]"), colours.canonical("grey[level=0.5]")
        ('grey 0.25', 'grey')
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
        adapt: Callable[[Any], Callable[..., T]] | None = None,
        wanted: str = "",
        noun: str = "",
    ) -> None:
        self.field, self.plural, self.context = field, plural, context
        self.prefixes, self.assemble, self.alone = prefixes, assemble, alone
        self.aliases, self.kind = dict(aliases or {}), kind
        self.check, self.adapt, self.wanted = check, adapt, wanted
        self.noun = noun or f"{'an' if field[0] in 'aeiou' else 'a'} {field}"
        self.behind: Registry[Any] | None = None  # the registry of what these prefixes precede
        if prefixes is not None:
            prefixes.behind = self
        self.builtins = {name: Entry(name, make, "hgobench") for name, make in builtins.items()}

    @cached_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        points: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=f"hgobench.{self.plural}"):
            points.setdefault(point.name, []).append(point)
        return points

    def names(self) -> list[str]:
        """Return all names, built-ins first, then those of installed plug-ins."""
        return [*self.builtins, *(name for name in self._plugins if name not in self.builtins)]

    def name_of(self, thing: object) -> str:
        """Return the name of a class, a function or an instance that can be imported by it.

        A result is found again by it, on other machines and in other processes, where nothing but
        the name comes; so what has none is refused, and what it names is part of the address.

        Raises:
            InputError: it can't be imported by a name, with the reason.

        Example:
            >>> from hgobench.data import partitions
            >>> partitions.registry.name_of(partitions.Iid), partitions.registry.name_of(Path)
            ('iid', 'pathlib:Path')
        """
        for builtin, entry in self.builtins.items():
            if entry.factory is thing:
                return builtin
        name = getattr(thing, "__qualname__", "")
        home = getattr(thing, "__module__", None) or type(thing).__module__
        if name == "<lambda>" or name.endswith(".<lambda>"):
            why = "a lambda has no name"
        elif home == "__main__":
            why = "what a script or notebook defines can't be imported; move it into a module"
        elif "<locals>" in name:
            why = "it is defined inside a function"
        elif name and "." in name:
            why = "it is defined inside a class"
        elif name and getattr(sys.modules.get(home), name, None) is thing:
            return f"{home}:{name}"
        elif name:
            why = f"{home}.{name} is something else"
        else:
            for key, value in vars(sys.modules.get(home, object())).items() if home else ():
                if value is thing and not key.startswith("_"):
                    return f"{home}:{key}"
            why = (
                f"{home} has no name for this instance; bind it to one in a module of yours and "
                "give that, as module:NAME, or give its class"
            )
        raise InputError(
            f"{self.field}: {' '.join(shown(thing).split())}: {why}: a result is found again by "
            f"the name that its {self.field} is imported by, as module:Name"
        )

    def split(self, text: str) -> list[str]:
        """Return the specifications in a chain, ``"nnm+krum"``: the prefixes, then the component.

        Raises:
            InputError: a name is missing, or a quote or a bracket is not closed.
        """
        if self.prefixes is None or not isinstance(text, str):
            return [text]
        specifications = pieces(text, "+", f"{self.field}: ")
        if not all(specifications) and len(specifications) > 1:
            raise InputError(
                f"{self.field}: {shown(text)}; expected a name at both sides of each +"
            )
        if self.alone is not None and self.bare(specifications[-1]) in self.prefixes.names():
            specifications.append(self.alone)
        return specifications

    @staticmethod
    def bare(text: str) -> str:
        """Return the name of a specification without its parameters; other texts unchanged."""
        try:
            return specification(text)[0]
        except InputError:
            return text.strip()

    def named(self, text: str) -> list[tuple[Registry[Any], str]]:
        """Return each bare name in a specification with the registry that it belongs to.

        Raises:
            InputError: a name is missing, or a quote or a bracket is not closed.
        """
        *prefixes, last = (self.bare(link) for link in self.split(text))
        last = self.aliases.get(last, last)
        return [*((self.prefixes, name) for name in prefixes if self.prefixes), (self, last)]

    def entry(self, name: str) -> Entry[T]:
        """Find a component by its bare name; a plug-in is imported for that.

        Raises:
            InputError: there is none of this name, or a plug-in does not import.
        """
        name = self.aliases.get(name, name)
        if ":" in name:
            return self._imported(name)
        if name in self.builtins:
            return self.builtins[name]
        if name in self._plugins:
            return self._plugin(name)
        or_plugin = ", or module:Class" if "." in name else ""
        if self.prefixes is not None and name in self.prefixes.names():
            raise InputError(
                f"{self.field}: {name!r} is written before a {self.field}, as in {name}+median"
            )
        if self.behind is not None and name in self.behind.names():
            raise InputError(
                f"{self.field}: {name!r} is {self.behind.noun}, of which a chain has one, the "
                f"last; before it come {', '.join(self.names())}"
            )
        raise InputError(
            unknown(
                self.field,
                name,
                [*self.names(), *self.aliases, *(self.prefixes.names() if self.prefixes else ())],
                hint=f"hgobench list {self.plural}{or_plugin}",
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
                return self._adapted(name, points[0].load(), owners[0])
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{self.field}: {name!r} of {owners[0]} does not load: {_raised(error)}"
            ) from error

    def _imported(self, name: str) -> Entry[T]:
        entry = self._adapted(name, imported(self.field, name), name)
        if not callable(entry.factory):
            raise InputError(f"{self.field}: {name!r} is {shown(entry.factory)}; expected a class")
        return entry

    def _adapted(self, name: str, factory: Callable[..., T], origin: str) -> Entry[T]:
        return Entry(name, factory if self.adapt is None else self.adapt(factory), origin)

    def _parse(self, text: str) -> tuple[Entry[T], dict[str, Value]]:
        if not isinstance(text, str):
            raise InputError(
                f"{self.field}: {shown(text)}; expected name or name[parameter=value,...]"
            )
        name, parameters = specification(text, f"{self.field}: ")
        entry = self.entry(name)
        prefix = f"{self.field}: {shown(text)}: "
        settable = [name for name in entry.signature if name not in self.context]
        values: dict[str, Value] = {}
        for position, item in enumerate(parameters):
            key, equals, value = item.partition("=")
            if not equals or item.startswith('"'):  # by_class[2]
                if position >= len(settable):
                    raise InputError(f"{prefix}too many parameters")
                key, value = settable[position], item
            key = key.strip()
            if key not in settable:
                if not settable:
                    raise InputError(f"{prefix}{entry.name} takes no parameters")
                raise InputError(unknown(f"{prefix}parameter", key, settable))
            if key in values:
                raise InputError(f"{prefix}{key} is given twice")
            values[key] = _read(value, entry.signature[key], f"{prefix}{key}: ")
        return entry, values

    def parameters(self, name: str) -> list[str]:
        """Return the parameters that a user may set, as written: ``["path", "label=label"]``."""
        return [
            parameter.name
            if parameter.default is parameter.empty
            else f"{parameter.name}={write_parameter(parameter.default, parameter)}"
            for parameter in self.entry(name).signature.values()
            if parameter.name not in self.context
        ]

    def files(self, text: str) -> list[str]:
        """Return the files that a specification names, as parameters called ``path``."""
        *prefixes, last = self.split(text)
        paths = [
            path for prefix in prefixes if self.prefixes for path in self.prefixes.files(prefix)
        ]
        _, values = self._parse(last)
        return [*paths, str(values["path"])] if "path" in values else paths

    def mentioned(self, text: str) -> list[str]:
        """Return the modules that parameters name: of ``Net[loss=mypkg.losses:focal]`` the loss's.

        A factory says in `mentions` which of its parameters are such names.
        """
        entry, values = self._parse(self.split(text)[-1])
        texts = [str(values.get(name)) for name in getattr(entry.factory, "mentions", ())]
        modules = [text.partition(":")[0] for text in texts if ":" in text]
        for module in modules:
            with suppress(ImportError), importing(module):  # what fails is refused elsewhere
                importlib.import_module(module)
        return modules

    def canonical(self, text: str) -> str:
        """Return the one spelling of a specification: parameters in order, defaults left out."""
        *prefixes, text = self.split(text)
        if self.prefixes and prefixes:
            return "+".join([*map(self.prefixes.canonical, prefixes), self.canonical(text)])
        entry, values = self._parse(text)
        written = [
            f"{name}={write_parameter(values[name], parameter)}"
            for name, parameter in entry.signature.items()
            if name in values and not _is_default(values[name], parameter)
        ]
        return entry.name + (f"[{','.join(written)}]" if written else "")

    def origin(self, text: str) -> str:
        """Return who provides a component: ``hgobench``, a distribution, or ``module:Class``.

        Nothing is imported for that: the text may come from results of unknown origin.
        """
        for registry, name in self.named(text):
            if name not in registry.builtins:
                owners = [
                    point.dist.name for point in registry._plugins.get(name, ()) if point.dist
                ]
                return owners[0] if owners else name
        return "hgobench"

    def sources(self, text: str) -> list[str]:
        """Return the files that a specification's plug-ins come from, as seen from here.

        Raises:
            InputError: a plug-in does not import.
        """
        files: dict[str, None] = {}
        for registry, name in self.named(text):
            if name in registry.builtins:
                continue
            home = getattr(registry.entry(name).factory, "__module__", "")
            if own(home):  # it wraps what a module holds
                home = name.partition(":")[0]
            module = sys.modules.get(home)
            if file := getattr(module, "__file__", None):
                path = Path(file)
                with suppress(ValueError, OSError):  # not in the working folder, or that is gone
                    path = path.relative_to(Path.cwd())
                files[str(path)] = None
        return list(files)

    def function(self, text: str) -> Callable[..., Any] | None:
        """Return the plain function that `text` names; None: it names a class.

        Raises:
            InputError: parameters were given for a function, which is called itself.
        """
        entry, _ = self._parse(text)
        if not inspect.isfunction(entry.factory) or entry.origin == "hgobench":
            return None
        if text.strip() != entry.name:
            raise InputError(
                f"{self.field}: {text!r}: {entry.name} is a function and takes no parameters here; "
                "write a class"
            )
        self._check_call(entry)
        return entry.factory

    def _check_call(self, entry: Entry[T]) -> None:
        """Raise InputError unless a function can be called with the workers' vectors alone."""
        try:
            signature = inspect.signature(entry.factory)
        except (TypeError, ValueError):  # it says nothing about itself
            return
        keywords = {"present": None} if "present" in signature.parameters else {}
        try:
            signature.bind(None, **keywords)
        except TypeError as error:
            called = f"{entry.factory.__name__}(vectors)"
            raise InputError(
                f"{self.field}: {entry.name!r}: called as {called}: {error}; "
                "what else it needs, such as f, a class takes in its __init__"
            ) from None

    def build(self, text: str, **context: Any) -> T:
        """Construct the component that `text` names.

        Args:
            text: ``name``, ``name[parameter=value,...]``, or the same with ``module:Class``; where
                there is an `assemble`, with prefixes before it.
            context: values that the caller supplies (the tolerated f, the number of classes, ...);
                each factory receives those that its signature names.

        Raises:
            InputError: the name or a parameter is unknown, or the factory refuses its values.
        """
        if self.assemble and self.prefixes and len(chain := self.split(text)) > 1:
            *prefixes, last = chain
            steps = [self.prefixes.build(link, **context) for link in prefixes]
            return self.assemble(steps, self.build(last, **context))
        entry, values = self._parse(text)
        accepted = {k: v for k, v in context.items() if k in entry.signature and k not in values}
        missing = [
            name
            for name, parameter in entry.signature.items()
            if parameter.default is parameter.empty
            and name not in (*values, *accepted, *self.context)
        ]
        if missing and entry.origin == "hgobench":
            example = ",".join(f"{name}=.." for name in missing)
            raise InputError(
                f"{self.field}: {text!r}: {' and '.join(missing)} missing; write "
                f"{entry.name}[{example}]"
            )
        self._check_kind(text, entry.factory)
        try:
            with making(self.field, text, entry.factory, (InputError, TypeError, ValueError)):
                component = entry.factory(**values, **accepted)
        except InputError as error:
            prefix = f"{self.field}: "
            raise InputError(
                f"{prefix}{text!r}: {problem.removeprefix(prefix)}" for problem in error.problems
            ) from error
        except TypeError as error:
            supplied = ", ".join(sorted(self.context)) or "nothing"
            where = _where(error, entry)
            raise InputError(
                f"{self.field}: {text!r}: {message(error)}{where}; hgobench supplies {supplied}"
            ) from error
        except ValueError as error:
            where = _where(error, entry)
            raise InputError(f"{self.field}: {text!r}: {message(error)}{where}") from error
        except Exception as error:
            raise InputError(f"{self.field}: {text!r}: {_raised(error)}") from error
        if self.kind is not None and not isinstance(component, self.kind):
            raise InputError(
                f"{self.field}: {text!r} makes {home(type(component))}; expected "
                f"{self._wanted_class()}"
            )
        return component if self.check is None else self.check(component, text)

    def _check_kind(self, text: str, factory: object) -> None:
        """Refuse a factory that can't construct a component of this kind, before it is called."""
        if self.kind is None:
            return
        if isinstance(factory, type):
            if not issubclass(factory, self.kind):
                raise InputError(
                    f"{self.field}: {text!r} is {home(factory)}; expected {self._wanted_class()}"
                )
        elif not inspect.isroutine(factory) and not isinstance(factory, partial):
            raise InputError(
                f"{self.field}: {text!r} is an instance of {home(type(factory))}; expected "
                f"{self._wanted_class()}"
            )

    def _wanted_class(self) -> str:
        assert self.kind is not None
        return f"a subclass of {self.wanted or home(self.kind)}"


class Wanted(NamedTuple):
    """What an attribute of a component is to be.

    >>> FLAG.what, FLAG.holds(1)
    ('True or False', False)
    """

    holds: Callable[[Any], bool]
    what: str


FLAG = Wanted(lambda value: isinstance(value, bool), "True or False")
SHARE = Wanted(
    lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    ),
    "a number in [0, 1]",
)


def count(least: int) -> Wanted:
    """Return what a whole number is that is at least so much.

    >>> count(1).holds(0), count(1).holds(True), count(1).what
    (False, False, 'a whole number >= 1')
    """
    return Wanted(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
        f"a whole number >= {least}",
    )


def having(field: str, **attributes: Wanted) -> Callable[[Any, str], Any]:
    """Return a registry's `check` of a user's components: their attributes are such.

    Args:
        field: the registry's.
        attributes: what each is to be.

    >>> from types import SimpleNamespace
    >>> check = having("workload", whole=FLAG)
    >>> check(SimpleNamespace(whole="no"), "mine:Half")
    Traceback (most recent call last):
        ...
    hgobench.errors.InputError: workload: 'mine:Half': its whole: 'no'; expected True or False
    """

    def check(component: Any, text: str) -> Any:
        if not foreign(component):
            return component
        try:
            with Boundary(field, text, component, passes=(InputError,))("attributes"):
                values = {name: getattr(component, name) for name in attributes}
        except PluginError as error:
            raise InputError(error.problem) from error
        wrong = [
            f"{field}: {text!r}: its {name}: {shown(values[name])}; expected {wanted.what}"
            for name, wanted in attributes.items()
            if not wanted.holds(values[name])
        ]
        if wrong:
            raise InputError(wrong)
        return component

    return check


def imported(field: str, name: str) -> Any:
    """Return what ``module:Name`` names.

    Args:
        field: what messages begin with.
        name: module and name.

    Raises:
        InputError: the module does not import, or has nothing of this name.

    >>> imported("rule", "math:inf")
    inf
    """
    module, _, attribute = name.rpartition(":")
    file = module.replace("\\", "/").rpartition("/")[2]
    if file != module or file.endswith(".py"):
        raise InputError(
            f"{field}: {name!r} names a file; write "
            f"{file.removesuffix('.py')}:{attribute}, from the folder that holds {file}"
        )
    try:
        with importing(module):
            holder = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{field}: {name!r} does not import: {_raised(error)}") from error
    if other := _shadowed(holder):
        raise InputError(
            f"{field}: {name!r}: {other.as_posix()} here is not what Python imports as "
            f"{module}, but {str(holder.__file__)!r}; rename the file here"
        )
    names = [key for key in vars(holder) if not key.startswith("_")]
    if attribute not in names:
        raise InputError(unknown(f"{field}: {name!r}: {module}", attribute, names))
    return getattr(holder, attribute)


def _shadowed(module: ModuleType) -> Path | None:
    """Return the working folder's file of a module's name, if an installed module has taken it."""
    file = getattr(module, "__file__", None)
    with suppress(OSError):
        if file is None or {"", os.getcwd()}.isdisjoint(sys.path) or not installed(Path(file)):
            return None
        *folders, last = module.__name__.split(".")
        for parts in ((*folders, last, "__init__.py"), (*folders, f"{last}.py")):
            here = Path(*parts)
            if here.is_file():
                return None if here.samefile(file) else here
    return None


def home(cls: type) -> str:
    """Return where a class is imported from: its package, if that names it.

    >>> home(Registry), home(dict)
    ('hgobench.registry.Registry', 'builtins.dict')
    """
    package = cls.__module__.rpartition(".")[0]
    exported = getattr(sys.modules.get(package), cls.__name__, None) is cls
    return plain(f"{package if exported else cls.__module__}.{cls.__qualname__}")


def _where(error: BaseException, entry: Entry[Any]) -> str:
    """Return the line of plug-in code that refused its own parameters, to follow its message."""
    return "" if entry.origin == "hgobench" else raised_at(error, packages(entry.factory))


def _raised(error: BaseException) -> str:
    """Return the exception of plug-in code as text, with a hint at the likely cause."""
    text = error.message if isinstance(error, PluginError) else error_text(error)
    if text.startswith("SystemExit"):
        text += "; what runs as a script belongs under if __name__ == '__main__':"
    return text
