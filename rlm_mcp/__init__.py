"""Recursive Language Models over text far larger than any window, on a model of your own."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm_mcp.conduct import Citation, Conduct, Plan
    from rlm_mcp.errors import (
        ArgumentInvalid,
        ContextError,
        EndpointError,
        ReplError,
        RlmError,
        RunError,
        SessionError,
        SettingsInvalid,
    )
    from rlm_mcp.library import RLM, AsyncRLM
    from rlm_mcp.protocols import Model
    from rlm_mcp.runs.costs import Costs, Spent
    from rlm_mcp.settings import Settings
    from rlm_mcp.types import Answer, Completion, Message, Retry, Usage

__all__ = [
    "RLM",
    "Answer",
    "ArgumentInvalid",
    "AsyncRLM",
    "Citation",
    "Completion",
    "Conduct",
    "ContextError",
    "Costs",
    "EndpointError",
    "Message",
    "Model",
    "Plan",
    "ReplError",
    "Retry",
    "RlmError",
    "RunError",
    "SessionError",
    "Settings",
    "SettingsInvalid",
    "Spent",
    "Usage",
]

_MODULES = ("conduct", "errors", "types", "settings", "protocols", "runs.costs", "library")


def __getattr__(name: str) -> object:
    """Public names load on first use, so that importing the package costs next to nothing."""
    if name in __all__:
        for module in _MODULES:
            found = getattr(importlib.import_module(f"rlm_mcp.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module 'rlm_mcp' has no attribute {name!r}")
