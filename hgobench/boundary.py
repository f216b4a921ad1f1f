"""The boundary through which plug-in code is imported, made and called.

During a call the global random generators are keyed by its purpose, so that code that draws from
them is reproducible; what the code prints goes to standard error; whatever it raises becomes a
`PluginError` that names it; global state that it changes is restored. hgobench's own components
(rules, attacks, models, ...) are called directly: `foreign` tells the two apart.
"""

from __future__ import annotations

import ctypes
import gc
import io
import locale
import math
import os
import random
import signal
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

LONGEST = 1000  # characters of a message
OUT_OF_TIME = "out of time"  # the reason of a cell that ran past its limit begins so
OUT_OF_MEMORY = "out of memory"
IDLE = 0.02  # of a period's seconds; a process that computes less than that is waiting
BUSY = 0.05  # CPU seconds after its call, from which on a thread is said to compute

IMPORTED: set[str] = set()  # plug-in modules that this process was asked to import
# Threads that outlived the call of plug-in code in which they began, by number, and the CPU seconds
# that they had taken by then. A clock counts theirs, too, whoever's component runs.
LEFT: dict[int, float] = {}
_FREE: AbstractContextManager[None] = nullcontext()
_TICKING: list[Clock] = []
PERIOD = 1.0  # seconds between two rings of an alarm, at most
_alarm_is_kept = False
_LIMIT: ContextVar[float] = ContextVar("limit", default=math.inf)
_show: Callable[[float, float, str], None] | None = None
_trial: Callable[[str, str], str] | None = None
_SEED: ContextVar[int] = ContextVar("seed", default=0)


class PluginError(Exception):
    """Plug-in code raised an exception, or returned an invalid value.

    Args:
        who: the component: ``"rule 'mine:Rule'"``.
        message: what it raised and where, or what is wrong with what it returned.

    Example:
        >>> PluginError("rule 'mine:Rule'", "ValueError: no values (mine.py:12)").problem
        "rule: 'mine:Rule': ValueError: no values (mine.py:12)"
    """

    def __init__(self, who: str, message: str) -> None:
        super().__init__(who, message)
        self.who, self.message = who, message

    def __str__(self) -> str:
        return f"{self.who}: {self.message}"

    @property
    def problem(self) -> str:
        """The message as an `InputError` words it: ``"rule: 'mine:Rule': .."``."""
        return f"{self.who.replace(' ', ': ', 1)}: {self.message}"


class OutOfTime(BaseException):
    """A component ran past its cell's limit; a BaseException, which few components catch."""


def own(module: str) -> bool:
    """Say whether a module is hgobench's own.

    >>> own("hgobench.models"), own("hgobench_plugins")
    (True, False)
    """
    return module.startswith("hgobench.") or module == "hgobench"


def foreign(component: object) -> bool:
    """Say whether a component, or one of those that it contains (`made_of`), is plug-in code."""
    if not own(type(component).__module__):
        return True
    return any(foreign(inner) for inner in getattr(component, "made_of", ()))


def packages(component: object) -> set[str]:
    """Return the top-level packages of a component and of those that it contains."""
    if isinstance(component, partial):
        component = component.func
    module = getattr(component, "__module__", None)
    own_package = {module.partition(".")[0]} if isinstance(module, str) else set()
    return own_package.union(*map(packages, getattr(component, "made_of", ())))


def installed(file: Path) -> bool:
    """Say whether a source file is the standard library's or an installed package's.

    >>> installed(Path(os.__file__)), installed(Path("mine.py"))
    (True, False)
    """
    path = file.resolve()
    library = path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    return library or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)


def raised_at(error: BaseException, installed_too: Collection[str] = ()) -> str:
    """Return the innermost line of plug-in code that an exception came through.

    Args:
        error: the exception.
        installed_too: the top-level packages that are plug-in code although they are installed.

    Returns:
        `` (mine.py:12)``, to follow its text: the file is named as far as its module is, so that it
        is the same on every machine. Empty if no line of plug-in code had a part in it.
    """
    place = ""
    with suppress(Exception):  # what a frame says of itself is plug-in code's too
        for frame, line in traceback.walk_tb(error.__traceback__):
            module, file = frame.f_globals.get("__name__"), frame.f_code.co_filename
            name = module if type(module) is str else ""
            if file.startswith("<") or own(name):
                continue
            if name.partition(".")[0] in installed_too or not installed(Path(file)):
                place = plain(f" ({_file_in_package(Path(file), name)}:{line})")
    return place


def _file_in_package(file: Path, module: str) -> str:
    """Return a module's file, with the folders that are packages: ``pkg/mod.py``."""
    *folders, last = module.split(".")
    for parts in ((*folders, f"{last}.py"), (*folders, last, "__init__.py")):
        if file.parts[-len(parts) :] == parts:
            return "/".join(parts)
    return file.name


def plain(text: str) -> str:
    """Return a text that can be encoded and kept: unprintable characters escaped, its end cut off.

    >>> plain("a\\ud800\\0b")
    'a\\\\ud800\\\\x00b'
    """
    encoded = str.encode(text, "utf-8", "backslashreplace").decode()
    if len(encoded) > LONGEST:
        encoded = f"{encoded[:LONGEST]}.. ({len(encoded)} characters)"
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
        for c in encoded
    )


def error_text(error: BaseException) -> str:
    """Return an exception as ``Type: message``, whatever its class and its message are.

    >>> error_text(ValueError("no values"))
    'ValueError: no values'
    """
    text = message(error)
    name: str = type.__dict__["__name__"].__get__(type(error))  # no metaclass is asked
    return f"{plain(name)}: {text}" if text else plain(name)


def message(error: BaseException) -> str:
    """Return an exception's message, whatever its ``__str__`` does."""
    try:
        return plain(str(error))
    except BaseException:
        return "its message can't be read, as __str__ raises"


@contextmanager
def keyed(seed: int) -> Iterator[None]:
    """Key the draws of components that are constructed in the body by this seed."""
    token = _SEED.set(seed)
    try:
        yield
    finally:
        _SEED.reset(token)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Limit each single call of plug-in code in the body to these seconds, of CPU and of waiting.

    Where a cell's `Clock` runs, its limit applies instead.
    """
    token = _LIMIT.set(seconds)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def watched_by(show: Callable[[float, float, str], None]) -> None:
    """Report each call to an observer, which can stop C code too, from outside the process.

    Args:
        show: called with the CPU seconds of this process at which the call is out of time (inf: no
            call is running), the limit, and the component.
    """
    global _show
    _show = show


def tried_first(trial: Callable[[str, str], str] | None) -> Callable[[str, str], str] | None:
    """Set the function that tries plug-in code elsewhere before it is imported or constructed here.

    Args:
        trial: called with ``"import"`` and a module, or a field and a specification; returns what
            is wrong, or an empty string. None: plug-in code is not tried.

    Returns:
        The function set before.
    """
    global _trial
    previous, _trial = _trial, trial
    return previous


def is_tried_first() -> bool:
    """Say whether plug-in code is tried elsewhere before it is imported or constructed here."""
    return _trial is not None


def crowded() -> bool:
    """Say whether threads that plug-in code left behind compute; those that ended are forgotten."""
    for ended in LEFT.keys() - _threads():
        del LEFT[ended]
    return any(_seconds(thread) - before > BUSY for thread, before in LEFT.items())


def _threads() -> set[int]:
    """Return this process's threads by number; those that C code started only on Linux."""
    with suppress(OSError):
        return set(map(int, os.listdir("/proc/self/task")))
    return {thread.native_id for thread in threading.enumerate() if thread.native_id is not None}


def _seconds(thread: int) -> float:
    """Return the CPU seconds of a thread; where they are not known, the process's."""
    with suppress(OSError, ValueError):
        status = Path(f"/proc/self/task/{thread}/stat").read_text(errors="replace")
        user, system = status.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return time.process_time()


def _try_first(who: str, kind: str, name: str) -> None:
    """Raise PluginError if the trial of a module or component finds a problem."""
    if _trial is not None and (problem := _trial(kind, name)):
        raise PluginError(plain(who), problem)


def _report() -> None:
    if _show is not None:
        first = min(_TICKING, key=lambda clock: clock.deadline, default=None)
        if first is None:
            _show(math.inf, math.inf, "")
        else:
            _show(first.deadline, first.limit, first.who)


class Clock:
    """Limits the CPU seconds that some components take together.

    CPU time is that of this process, so that a busy machine, or a paused one, changes nothing. A
    component that waits takes none: where there are signals, the seconds in which it could have
    computed and did not are counted separately, and have the same limit.

    Args:
        seconds: the limit; inf: none.
        single: whether the limit is that of a single call, and not of all components of a cell.

    Example:
        >>> clock = Clock(60.0)
        >>> clock.start("rule 'krum'")
        >>> clock.stop()
        >>> clock.left <= 60.0
        True
    """

    def __init__(self, seconds: float = math.inf, *, single: bool = False) -> None:
        self.limit = self.left = seconds
        self.single = single
        self._waited = self._began = self._last = self._rung = self._period = 0.0
        self.who, self._running, self._rang, self._is_main = "", False, False, False
        self._previous: Any = None
        self._timer: tuple[float, float] | None = None

    def start(self, who: str, *, trusted: bool = False) -> None:
        """Count from now on.

        Args:
            who: is named when the time is over.
            trusted: whether what is called leaves signals alone, so that `kept_alarm` will do.
        """
        self.who, self._running, self._rang = who, True, False
        self._began = self._last = time.process_time()
        self._rung = time.monotonic()
        self._is_main = threading.current_thread() is threading.main_thread()
        _TICKING.append(self)
        _report()
        self._period = min(max(self.left / 10.0, 0.005), PERIOD)
        if trusted and _alarm_is_kept and self._period == PERIOD:
            return
        if math.isfinite(self.left) and _has_alarm():
            # What is to be restored is known before anything changes: Ctrl-C may come in between.
            self._previous = signal.getsignal(signal.SIGALRM)
            self._timer = signal.getitimer(signal.ITIMER_REAL)
            signal.signal(signal.SIGALRM, self._ring)
            # It rings again and again, also for code that catches everything.
            signal.setitimer(signal.ITIMER_REAL, self._period, self._period)

    @property
    def deadline(self) -> float:
        """The CPU seconds of this process at which its time is over."""
        return self._began + self.left

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if not self._running:
            return
        now, rung = time.process_time(), time.monotonic()
        # A stopped process gets one signal, however long it was stopped: periods count, not hours.
        # An alarm that was set before the clock was started rings after less than a period.
        seconds = min(rung - self._rung, self._period)
        self._waited += seconds if now - self._last < IDLE * seconds else 0.0
        self._last, self._rung = now, rung
        if now - self._began > self.left or self._waited > self.limit:
            self._rang = True
            if frame is None or frame.f_globals is not globals():  # not while this room tidies up
                raise OutOfTime(self._message())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing in the body: hgobench computes for the component."""
        if not self._running:
            yield
            return
        who = self.who
        try:
            self.stop()
            yield
        finally:
            self.start(who)

    def _message(self) -> str:
        return f"{OUT_OF_TIME}: {self.who} {self.verdict}"

    @property
    def verdict(self) -> str:
        """What a message says after the name of a component that took too long."""
        verb = "took" if self.single else "and what else the cell names took"
        verb = "waited" if self._waited > self.limit else verb
        return f"{verb} longer than time_limit = {self.limit:g} s"

    def stop(self) -> None:
        """Stop counting.

        Raises:
            OutOfTime: the time is over.
        """
        try:
            self._running = False
            _TICKING.remove(self)
            _report()
        finally:
            if self._timer is not None:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
                signal.signal(signal.SIGALRM, self._previous)
                signal.setitimer(signal.ITIMER_REAL, *self._timer)
                self._timer = None
        self.left -= time.process_time() - self._began
        if self._rang or self.left < 0:
            raise OutOfTime(self._message())


def _has_alarm() -> bool:
    """Whether signals can interrupt what runs here."""
    return hasattr(signal, "setitimer") and (threading.current_thread() is threading.main_thread())


@contextmanager
def kept_alarm() -> Iterator[None]:
    """Set the alarm of clocks once for the many calls of the body, instead of at each.

    Setting and unsetting takes as long as a small rule. Calls of plug-in code, which may change
    the alarm, and those with less than 10 s left still set one of their own. Where somebody else's
    timer runs, all do.
    """
    global _alarm_is_kept
    if _alarm_is_kept or not _has_alarm() or signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0):
        yield
        return
    previous = signal.getsignal(signal.SIGALRM)
    try:
        signal.signal(signal.SIGALRM, _ring)
        signal.setitimer(signal.ITIMER_REAL, PERIOD, PERIOD)
        _alarm_is_kept = True
        yield
    finally:
        _alarm_is_kept = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def _forget_alarm() -> None:
    """Keep no alarm after a fork: a child has none of its parent's timers."""
    global _alarm_is_kept
    _alarm_is_kept = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_alarm)


def _ring(number: int, frame: FrameType | None) -> None:
    """Let the clock that was started last in the main thread, which signals interrupt, look."""
    for clock in reversed(_TICKING):
        if clock._is_main:
            clock._ring(number, frame)
            return


class _Timed:
    """A call of hgobench's own code: only the clock runs."""

    def __init__(self, clock: Clock, who: str) -> None:
        self.clock, self.who = clock, who

    def __enter__(self) -> None:
        self.clock.start(self.who, trusted=True)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            self.clock.stop()
        except OutOfTime:
            if error is None or isinstance(error, OutOfTime):
                raise


class Boundary:
    """The boundary around a component, through which it is called.

    Args:
        kind: what messages call it: ``"rule"``.
        name: its specification.
        component: the rule, model, ...; None: plug-in code that is not constructed yet.
        seed: the scenario's; None: that of `keyed`.
        clock: charged for the seconds of its calls; None: they are not counted.
        passes: exceptions that are raised unchanged, as the caller handles them.
        notes: list to which restored state is added; None: it is written to standard error.
        keeps: state that is not restored.
        module: whose import or constructor it is, where there is no component yet.

    Example:
        >>> boundary = Boundary("rule", "mine:Rule", seed=0)
        >>> with boundary("call", k=1):
        ...     raise KeyError("f")
        Traceback (most recent call last):
        ...
        hgobench.boundary.PluginError: rule 'mine:Rule': KeyError: 'f'
    """

    def __init__(
        self,
        kind: str,
        name: str,
        component: object = None,
        *,
        seed: int | None = None,
        clock: Clock | None = None,
        passes: tuple[type[BaseException], ...] = (),
        notes: list[str] | None = None,
        keeps: frozenset[str] = frozenset(),
        module: str = "",
    ) -> None:
        self.kind, self.name, self.who = kind, name, plain(f"{kind} {name!r}")
        self.foreign = component is None or foreign(component)
        self.packages = packages(component) if self.foreign else set()
        if module:
            self.packages.add(module.partition(".")[0])
        self.seed, self.clock, self.passes = seed, clock, passes
        self.notes, self.keeps = notes, keeps
        self._timed = _FREE if clock is None else _Timed(clock, self.who)

    def __call__(self, purpose: str = "call", k: int = 0) -> AbstractContextManager[None]:
        """Return a context in which the component is called.

        Args:
            purpose: of the call; kind, purpose, seed and k key the global generators.
            k: the round.

        Raises:
            PluginError: plug-in code raised any exception but those in `passes`.
            OutOfTime: the clock's time is over.
            KeyboardInterrupt: Ctrl-C was pressed; the code did not raise it itself.
        """
        return _Call(self, purpose, k) if self.foreign else self._timed

    def error(self, problem: str) -> PluginError:
        """Return the error for a wrong value that the component returned."""
        return PluginError(self.who, plain(problem))

    def note(self, changed: list[str]) -> None:
        """Note the state that was restored."""
        text = f"{self.who} changed {', '.join(changed)}: put back"
        if self.notes is None:
            with suppress(Exception):
                print(f"hgobench: {text}", file=sys.stderr)
        elif text not in self.notes:
            self.notes.append(text)


class _Call:
    """A call of plug-in code."""

    def __init__(self, boundary: Boundary, purpose: str, k: int) -> None:
        self.boundary, self.purpose, self.k = boundary, purpose, k
        self.interrupted = self._leaving = False

    def __enter__(self) -> None:
        self._state = [watched.get() for watched in _watched()]
        self._streams = _Streams()
        self._generators = _Generators()
        self._interrupt = None
        if threading.current_thread() is threading.main_thread():
            self._interrupt = signal.getsignal(signal.SIGINT)
            if callable(self._interrupt):
                signal.signal(signal.SIGINT, self._note_interrupt)
        at = self.boundary
        seed = _SEED.get() if at.seed is None else at.seed
        self._generators.seed(seed, f"plugin {at.kind} {self.purpose}", self.k)
        self._threads = _threads()
        self.clock = at.clock
        if at.clock is None and not _TICKING and math.isfinite(_LIMIT.get()):
            self.clock = Clock(_LIMIT.get(), single=True)
        if self.clock is not None:
            self.clock.start(at.who)

    def _note_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if not self._leaving and callable(self._interrupt):
            self._interrupt(number, frame)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._leaving = True
        at = self.boundary
        text = "" if error is None else error_text(error)
        timeout: OutOfTime | None = None
        try:
            if self.clock is not None:
                self.clock.stop()
        except OutOfTime as over:
            timeout = over
        for thread in _threads() - self._threads:
            LEFT.setdefault(thread, _seconds(thread))
        self._generators.put_back()
        changed = self._streams.put_back()
        for watched, value in zip(_watched(), self._state, strict=True):
            if watched.name not in at.keeps and watched.restored(value):
                changed.append(watched.name)
        if changed:
            at.note(changed)
        if callable(self._interrupt):
            signal.signal(signal.SIGINT, self._interrupt)
        if self.interrupted:
            raise KeyboardInterrupt from None
        if timeout is not None:
            if self.clock is not None and self.clock.single:
                raise PluginError(at.who, f"{OUT_OF_TIME}: {self.clock.verdict}") from None
            raise timeout from None
        if error is None or isinstance(error, (PluginError, *at.passes)):
            return
        if isinstance(error, OutOfTime) and _TICKING:
            return  # of a call around this one
        raise PluginError(at.who, text + raised_at(error, at.packages)) from error


def importing(module: str) -> AbstractContextManager[None]:
    """Return a context in which a module is imported: its name keys the global generators.

    Changes of the environment and of the filters of warnings are not undone: a module sets these
    up for the libraries that it uses.

    Raises:
        PluginError: the import raises any exception.
    """
    if own(module):
        return _FREE
    IMPORTED.add(module)
    if module in sys.modules:
        return _FREE
    _try_first(f"import of {module!r}", "import", module)
    untracked = frozenset({ENVIRONMENT, FILTERS})
    return Boundary("import of", module, seed=0, keeps=untracked, module=module)(module)


def making(
    field: str, specification: str, factory: object, passes: tuple[type[BaseException], ...]
) -> AbstractContextManager[None]:
    """Return a context in which a component is made, keyed by its specification and `keyed`'s seed.

    Raises:
        PluginError: the factory is plug-in code and raises an exception that is not in `passes`.
    """
    maker = factory.func if isinstance(factory, partial) else factory
    module = getattr(maker, "__module__", None) or type(maker).__module__
    if own(module):
        return _FREE
    _try_first(f"{field} {specification!r}", field, specification)
    boundary = Boundary(field, specification, passes=passes, module=module)
    return boundary(f"make {specification}")


class _Generators:
    """The states of the global random generators."""

    def __init__(self) -> None:
        import numpy as np
        import torch

        self._numpy: Any = np.random.get_state()  # noqa: NPY002
        self._python = random.getstate()
        self._torch = torch.get_rng_state()

    def seed(self, seed: int, purpose: str, k: int) -> None:
        import numpy as np
        import torch

        from hgobench.determinism import stream

        key = int(stream(seed, purpose, k).integers(2**32))
        torch.default_generator.manual_seed(key)
        np.random.seed(key)  # noqa: NPY002
        random.seed(key)

    def put_back(self) -> None:
        import numpy as np
        import torch

        torch.set_rng_state(self._torch)
        np.random.set_state(self._numpy)  # noqa: NPY002
        random.setstate(self._python)


class _Streams:
    """Sends standard output to standard error, for Python and for writers to the descriptor."""

    def __init__(self) -> None:
        self._python = sys.stdin, sys.stdout, sys.stderr
        self._flush()
        self._saved: dict[int, int] = {}
        for number in (1, 2):
            with suppress(OSError):
                self._saved[number] = os.dup(number)
        if len(self._saved) == 2:
            os.dup2(2, 1)
        sys.stdout = self._set = sys.stderr

    def _flush(self) -> None:
        for stream in (self._python[1], sys.__stdout__, sys.stderr):
            with suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        if libc := _libc():
            libc.fflush(None)

    def put_back(self) -> list[str]:
        changed = []
        expected = self._python[0], self._set, self._python[2]
        if not _equal([sys.stdin, sys.stdout, sys.stderr], list(expected)):
            changed.append("Python's standard streams")
        self._flush()
        with suppress(OSError):
            if len(self._saved) == 2 and not os.path.sameopenfile(1, self._saved[2]):
                changed.append("standard output")
        for number in (1, 2):
            try:
                os.fstat(number)
            except OSError:
                if number in self._saved:
                    changed.append("standard output" if number == 1 else "standard error")
        for number, saved in self._saved.items():
            with suppress(OSError):
                os.dup2(saved, number)
                os.close(saved)
        sys.stdin, sys.stdout, sys.stderr = self._python
        raw = getattr(sys.stdout, "raw", sys.stdout)
        if isinstance(raw, io.TextIOWrapper) and raw.closed:
            opened = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            if raw is sys.stdout:
                sys.stdout = opened
            else:
                sys.stdout.raw = opened  # type: ignore[union-attr]
            changed.append("Python's standard streams")
        return list(dict.fromkeys(changed))


@cache
def _libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None


class _Watched(NamedTuple):
    """A piece of global state."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]

    def restored(self, saved: Any) -> bool:
        """Put it back; say whether it had changed."""
        try:
            if _equal(self.get(), saved):
                return False
        except Exception:  # it can't even be read: the working directory is gone
            pass
        with suppress(Exception):
            self.put(saved)
        return True


def _equal(current: Any, saved: Any) -> bool:
    """Compare state; items of lists by identity, as their __eq__ may be plug-in code."""
    if isinstance(current, list) and isinstance(saved, list):
        return len(current) == len(saved) and all(
            a is b for a, b in zip(current, saved, strict=True)
        )
    return bool(current == saved)


ENVIRONMENT = "the environment"
FILTERS = "the filters of warnings"


@cache
def _signals() -> list[int]:
    """Return the signals whose handlers are watched; Ctrl-C's is each call's own."""
    names = ("SIGALRM", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGUSR1", "SIGUSR2")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _handlers() -> list[Any]:
    handlers = [signal.getsignal(number) for number in _signals()]
    timed = hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0
    return [*handlers, timed]


def _set_handlers(saved: list[Any]) -> None:
    *handlers, timed = saved
    if hasattr(signal, "setitimer") and not timed:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    for number, handler in zip(_signals(), handlers, strict=True):
        signal.signal(number, handler)


@cache
def _watched() -> tuple[_Watched, ...]:
    import numpy as np
    import torch
    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(user_api="blas").lib_controllers

    def set_environment(saved: dict[str, str]) -> None:
        for name in os.environ.keys() - saved.keys():
            del os.environ[name]
        os.environ.update(saved)

    def set_filters(saved: list[Any]) -> None:
        warnings.filters[:] = saved  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]

    def set_blas(saved: tuple[int, ...]) -> None:
        for library, threads in zip(blas, saved, strict=True):
            library.set_num_threads(threads)

    def set_device(saved: torch.device) -> None:
        torch.set_default_device(None if saved.type == "cpu" else saved)

    def working_directory() -> str:
        try:
            return os.getcwd()
        except OSError:
            return ""

    tiny = sys.float_info.min
    return (
        _Watched("NumPy's error handling", np.geterr, lambda old: np.seterr(**old)),
        _Watched(
            "NumPy's error callback",
            lambda: [np.geterrcall()],
            lambda old: np.seterrcall(*old),
        ),
        _Watched("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        _Watched("torch's default device", torch.get_default_device, set_device),
        _Watched("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        _Watched("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
        _Watched(
            "torch's precision of products",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        _Watched(
            "torch's deterministic mode",
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda old: torch.use_deterministic_algorithms(old[0], warn_only=old[1]),
        ),
        _Watched(
            "what becomes of denormal numbers",
            lambda: tiny / 2.0 == 0.0,
            torch.set_flush_denormal,
        ),
        _Watched(
            "the threads of BLAS",
            lambda: tuple(library.get_num_threads() for library in blas),
            set_blas,
        ),
        _Watched("the working directory", working_directory, os.chdir),
        _Watched(ENVIRONMENT, lambda: dict(os.environ), set_environment),
        _Watched(FILTERS, lambda: list(warnings.filters), set_filters),
        _Watched(
            "the locale",
            lambda: locale.setlocale(locale.LC_ALL),
            lambda old: locale.setlocale(locale.LC_ALL, old),
        ),
        _Watched("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        _Watched(
            "the garbage collector", gc.isenabled, lambda old: gc.enable() if old else gc.disable()
        ),
        _Watched("the handlers of signals", _handlers, _set_handlers),
        _Watched("the trace function", lambda: [sys.gettrace()], lambda old: sys.settrace(*old)),
    )
