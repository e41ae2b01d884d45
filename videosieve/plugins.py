"""Methods and models of your own: registered by code, by a file, or by an installed package.

`videosieve.register_method(MyMethod)` and `videosieve.register_model(row)` put them where the library's own are, so
that recipes, comparisons, sweeps, tunes and reports take them like any other. They are called by

- your program, before it needs them;
- a file that a person names: `videosieve --plugin my.py …`, or `VIDEOSIEVE_PLUGINS=my.py:other.py`, which worker
  processes inherit;
- an installed package with entry points in the groups `videosieve.methods` (method classes) and `videosieve.models`
  (rows). These are read when something asks for a name that is not known, and by the command line.

docs/adding_a_method.md, docs/adding_a_model.md.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypeVar

from videosieve.errors import PluginError
from videosieve.methods import METHODS, Method

FILES = "VIDEOSIEVE_PLUGINS"
"""Environment variable with plug-in files, separated like paths."""

Chosen = TypeVar("Chosen", bound=type[Method])
_done: set[str] = set()


def register_method(method: Chosen) -> Chosen:
    """Make a method of your own known by its name; usable as a decorator.

    Args:
        method: A frozen dataclass, subclass of `Method`, with a `name` that no other method has.

    Returns:
        The class itself.

    Raises:
        PluginError: It is none, or the name is taken.
    """
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise PluginError(f"a method must be a subclass of videosieve.Method, got {method!r}")
    name = vars(method).get("name")
    if not isinstance(name, str) or not name or not name.replace("_", "").replace("-", "").isalnum():
        raise PluginError(
            f"{method.__name__} must have a name of its own, of letters, digits, _ and -: "
            f'name: ClassVar[str] = "mine"; got {name!r}'
        )
    settings: Any = getattr(method, "__dataclass_params__", None)
    if not is_dataclass(method) or not settings.frozen:
        raise PluginError(
            f"{method.__name__} must be a frozen dataclass, because recipes and run states compare methods by value; "
            f"write @dataclass(frozen=True) above it"
        )
    known = METHODS.get(name)
    if known is not None and _identity(known) != _identity(method):
        raise PluginError(
            f"the name {name!r} is taken by {_identity(known)}; give {method.__name__} another one"
        )
    METHODS[name] = method
    return method


def load_plugins() -> None:
    """Import the files that the environment names and the methods of installed packages, each of them once.

    Raises:
        PluginError: One of them cannot be imported, or registers what cannot be used.
    """
    for path in os.environ.get(FILES, "").split(os.pathsep):
        if path:
            load_file(path)
    load_entry_points("videosieve.methods", register_method)


def name_file(path: str | Path) -> None:
    """Import a plug-in file now, and have worker processes of this one import it too.

    Raises:
        PluginError: It cannot be imported.
    """
    load_file(path)
    absolute = str(Path(path).expanduser().resolve())
    named = [part for part in os.environ.get(FILES, "").split(os.pathsep) if part]
    if absolute not in named:
        os.environ[FILES] = os.pathsep.join([*named, absolute])


def load_file(path: str | Path) -> None:
    """Import a Python file that registers methods or models; a file that was imported already is left alone.

    Raises:
        PluginError: It is missing or raises.
    """
    place = Path(path).expanduser().resolve()
    if str(place) in _done:
        return
    if not place.is_file():
        raise PluginError(f"the plug-in {str(path)!r} is no file; give the path of a Python file")
    digest = hashlib.sha256(str(place).encode()).hexdigest()[:8]
    name = f"videosieve_plugin_{place.stem}_{digest}"
    spec = spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise PluginError(f"the plug-in {str(path)!r} must be a Python file, with a name ending in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look classes up there
    _done.add(str(place))
    try:
        spec.loader.exec_module(module)
    except PluginError:
        _forget(name, str(place))
        raise
    except Exception as error:
        _forget(name, str(place))
        raise PluginError(
            f"the plug-in {str(path)!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def load_entry_points(group: str, register: Callable[[Any], object]) -> None:
    """Register what installed packages offer in a group, once.

    Args:
        group: "videosieve.methods" or "videosieve.models".
        register: Called with each object; an entry point may hold one, or several in a list or tuple.

    Raises:
        PluginError: One of them cannot be imported or used; the message names the entry point.
    """
    if group in _done:
        return
    _done.add(group)
    for point in entry_points(group=group):
        for one in _several(_load(point)):
            register(one)


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise PluginError(
            f"the entry point {point.name} = {point.value} in {point.group} cannot be imported: "
            f"{type(error).__name__}: {error}; update or uninstall its package"
        ) from error


def _several(found: Any) -> Iterable[Any]:
    return found if isinstance(found, list | tuple) else (found,)


def _forget(module: str, place: str) -> None:
    sys.modules.pop(module, None)
    _done.discard(place)


def _identity(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
