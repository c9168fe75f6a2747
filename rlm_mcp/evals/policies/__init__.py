"""Scripted misbehaving models by area; a module here is found by its name and offers POLICIES."""

import importlib
import pkgutil

from rlm_mcp.evals.policy import Policy

CONTROLS = "controls"


def policies() -> tuple[Policy, ...]:
    """Every policy that misbehaves, by area."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(policy for name in names if name != CONTROLS for policy in _of(name))


def controls() -> tuple[Policy, ...]:
    """The well-behaved models, who must not be cost a turn."""
    return _of(CONTROLS)


def _of(name: str) -> tuple[Policy, ...]:
    found: tuple[Policy, ...] = importlib.import_module(f"{__name__}.{name}").POLICIES
    return found
