"""Which units a torch module's weights join, for granularities ``feature`` and ``subnetwork``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .base import ALWAYS

Shapes = Mapping[str, tuple[int, ...]]

DECLARE = "; declare {} on the module, or use granularity 'scalar'"
UNITS_TRIED = 12
# What treats every unit by itself and keeps their order.
LAYERS = """ReLU LeakyReLU ELU GELU SiLU Tanh Sigmoid Softplus Identity Dropout Dropout2d MaxPool1d
MaxPool2d AvgPool1d AvgPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool2d
Flatten""".split()  # noqa: SIM905
CALLS = """relu leaky_relu elu gelu silu tanh sigmoid softplus dropout dropout2d max_pool1d
max_pool2d avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d boolean_dispatch flatten
view reshape contiguous""".split()  # noqa: SIM905


def places_of(net: torch.nn.Module, shapes: Shapes) -> NDArray[np.int64]:
    """Return which unit's outgoing weights each coordinate belongs to, (d,).

    Biases, and what a normalisation adds, leave a constant unit; its factors are places of their
    own.

    Args:
        net: the module; its ``place_of`` (d,), if it declares one, is checked and returned.
        shapes: of the parameters that are trained, by name.

    Raises:
        ValueError: what it declares is wrong, or it is no chain of layers.
    """
    d = sum(math.prod(shape) for shape in shapes.values())
    if (declared := getattr(net, "place_of", None)) is not None:
        return _declared("place_of", declared, (d,))
    place, places = 0, []
    for name, layer in _chain(net, shapes, "place_of"):
        for parameter in ("weight", "bias"):
            shape = shapes.get(f"{name}.{parameter}".removeprefix("."))
            if shape is None:
                continue
            if parameter == "bias":
                row = np.full(math.prod(shape), place)
                columns = 1
            elif _mixes(layer):
                columns = shape[1]
                row = np.arange(place, place + columns).repeat(math.prod(shape[2:]))
                row = np.tile(row, shape[0])
            else:
                columns = math.prod(shape)
                row = np.arange(place, place + columns)
            places.append(row)
            place += columns
    return np.concatenate(places)


def units_of(net: torch.nn.Module, shapes: Shapes) -> NDArray[np.int64]:
    """Return the units that each coordinate joins, (2, d); -1: one that is always there.

    Args:
        net: the module; its ``units`` (2, d), if it declares them, are checked and returned.
        shapes: of the parameters that are trained, by name.

    Raises:
        ValueError: what it declares is wrong, or it is no chain of layers.
    """
    d = sum(math.prod(shape) for shape in shapes.values())
    if (declared := getattr(net, "units", None)) is not None:
        return _declared("units", declared, (2, d))
    chain = _chain(net, shapes, "units")
    mixing = [name for name, layer in chain if _mixes(layer)]
    total, sources, joined = 0, np.zeros(0, dtype=np.int64), []
    for name, layer in chain:
        weight: Any = layer.weight
        if _mixes(layer):
            inputs = weight.shape[1]
            if name == mixing[0]:
                image = weight.dim() > 2
                sources = np.full(inputs, ALWAYS) if image else np.arange(inputs)
                total = 0 if image else inputs
            if not len(sources) or inputs % len(sources):
                raise ValueError(
                    f"{name} takes {inputs} inputs of {len(sources)} units"
                    + DECLARE.format("units (2, d)")
                )
            source = sources.repeat(inputs // len(sources))
            last = name == mixing[-1]
            outputs = weight.shape[0]
            sources = np.full(outputs, ALWAYS) if last else np.arange(total, total + outputs)
            total += 0 if last else outputs
            pair = np.stack(np.broadcast_arrays(source, sources[:, None])).reshape(2, -1)
            pair = pair.repeat(math.prod(weight.shape[2:]), axis=1)
        elif weight.shape != sources.shape:
            raise ValueError(
                f"{name} is not of the units before it" + DECLARE.format("units (2, d)")
            )
        else:
            pair = np.stack((np.full(len(sources), ALWAYS), sources))
        constant = np.stack((np.full(len(sources), ALWAYS), sources))
        for parameter, ends in (("weight", pair), ("bias", constant)):
            if f"{name}.{parameter}".removeprefix(".") in shapes:
                joined.append(ends)
    units = np.concatenate(joined, axis=1)
    if units.max() < 0:
        raise ValueError("it has no hidden units" + DECLARE.format("units (2, d)"))
    return _dense(units)


def check_units(
    units: NDArray[np.int64], gradient: Callable[[Tensor], Tensor], params: Tensor
) -> None:
    """Raise ValueError unless what enters a unit is idle without the weights that leave it.

    Args:
        units: (2, d).
        gradient: of a loss at parameters (d,), (1, d).
        params: (d,) no weight of which is 0.
    """
    both = np.intersect1d(units[0], units[1])
    both = both[both != ALWAYS]
    for unit in both[:: max(len(both) // UNITS_TRIED, 1)]:
        without = params.clone()
        without[torch.from_numpy(units[0] == unit)] = 0.0
        slope = gradient(without)[0]
        entering = slope[torch.from_numpy(units[1] == unit)].abs().max()
        if float(entering) > 1e-6 * max(float(slope.abs().max()), 1e-30):
            raise ValueError(
                f"without the weights that leave unit {unit}, those that enter it still matter "
                "(does a normalisation mix units?), so that its sub-networks can't be told; use "
                "granularity 'scalar'"
            )


def _declared(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise ValueError(
            f"its {name} is {array.dtype} {array.shape}; expected integers {shape}, one for each "
            "parameter that is trained, in the order of named_parameters()"
        )
    least = ALWAYS if name == "units" else 0
    used = np.unique(array[array >= 0])
    if array.min() < least or not len(used) or used[-1] + 1 != len(used):
        raise ValueError(f"its {name}: expected whole numbers from {least}, without gaps")
    return array.astype(np.int64)


def _dense(units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the units that occur without gaps, as those of frozen layers do not occur."""
    used = np.unique(units[units >= 0])
    return np.where(units < 0, ALWAYS, np.searchsorted(used, units))


def _mixes(layer: torch.nn.Module) -> bool:
    """Say whether each of its outputs is a sum over its inputs; else each unit has its own."""
    nn = torch.nn
    return isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)


def _chain(net: torch.nn.Module, shapes: Shapes, what: str) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers that have parameters, by name, in the order in which they are computed.

    Raises:
        ValueError: the module is no chain of layers whose units are known.
    """
    declare = DECLARE.format("place_of (d,)" if what == "place_of" else "units (2, d)")
    if _own(net):
        return _ordered([("", net)], shapes, declare)
    try:
        graph = torch.fx.symbolic_trace(net).graph
    except Exception as error:
        raise ValueError(f"its layers can't be traced{declare}") from error
    layers: list[tuple[str, torch.nn.Module]] = []
    last: Any = None
    sizes = set[Any]()  # nodes that are numbers, such as the size of a batch
    for node in graph.nodes:
        sources = [source for source in node.all_input_nodes if source not in sizes]
        if node.op == "placeholder":
            if last is not None:
                raise ValueError(f"it takes several inputs{declare}")
        elif node.target in ("size", getattr) or (node.op == "call_function" and not sources):
            sizes.add(node)
            continue
        elif sources != [last]:
            raise ValueError(f"it is no chain of layers: {node.name} joins several{declare}")
        elif node.op == "call_module":
            layer = net.get_submodule(str(node.target))
            if _own(layer):
                layers.append((str(node.target), layer))
            elif type(layer).__name__ not in LAYERS or not type(layer).__module__.startswith(
                "torch.nn."
            ):
                raise ValueError(f"{node.target} is {type(layer).__name__}{declare}")
        elif node.op in ("call_function", "call_method"):
            name = getattr(node.target, "__name__", str(node.target))
            if name not in CALLS and not (name == "mean" and _of_pixels(node)):
                raise ValueError(f"it calls {name}{declare}")
        elif node.op != "output":
            raise ValueError(f"it uses {node.target} by itself{declare}")
        last = node
    return _ordered(layers, shapes, declare)


def _own(layer: torch.nn.Module) -> bool:
    """Say whether it is a layer with parameters whose units are known."""
    nn = torch.nn
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return layer.groups == 1
    if isinstance(layer, nn.LayerNorm):
        return len(layer.normalized_shape) == 1 and layer.elementwise_affine
    return type(layer) is nn.Linear or (type(layer) is nn.GroupNorm and layer.affine)


def _of_pixels(node: Any) -> bool:
    dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    return dims is not None and {*np.ravel(dims).tolist()} <= {2, 3, -1, -2}


def _ordered(
    layers: list[tuple[str, torch.nn.Module]], shapes: Shapes, declare: str
) -> list[tuple[str, torch.nn.Module]]:
    computed = [
        f"{name}.{p}".removeprefix(".")
        for name, layer in layers
        for p in ("weight", "bias")
        if getattr(layer, p, None) is not None
    ]
    trained = [name for name in computed if name in shapes]
    if trained != list(shapes) or len(set(computed)) != len(computed):
        raise ValueError(
            f"it computes with {', '.join(trained)} of {', '.join(shapes)}, not each once and in "
            f"order{declare}"
        )
    return layers
