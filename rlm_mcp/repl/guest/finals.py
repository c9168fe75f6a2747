"""Giving an answer from code: FINAL, FINAL_VAR and the `answer` dict."""

import difflib
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

CONTENT, READY = "content", "ready"
Final = list[Any]
# What other harnesses call it; lent, as each is a likely name of a variable.
OTHER_NAMES = (
    "SUBMIT", "submit", "FINAL_ANSWER", "final_answer", "submit_answer", "submit_final_answer",
    "finish",
)  # fmt: skip
NEAR = 0.7


class Answer(dict[str, Any]):
    """The `answer` dict, whose keys are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def as_text(value: object) -> str:
    """A str as it is, lists and dicts as JSON where that is possible, anything else as str.

    None says nothing.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return repr(value)
    return str(value)


class Finals:
    """The answers a cell gives; the last one of a cell counts."""

    def __init__(self, namespace: dict[str, Any], user_names: Callable[[], Iterable[str]]) -> None:
        self.limit_chars = 0
        self.given: Final | None = None
        self._near: str | None = None
        self._namespace = namespace
        self._user_names = user_names

        def FINAL(value: object) -> None:  # noqa: N802 - the name is the protocol of the paper
            """Give the answer."""
            self._give(self._meant(value), "FINAL")

        def FINAL_VAR(name: object) -> None:  # noqa: N802 - likewise
            """Give the value of a variable, named or handed over, as the answer."""
            self._give(self._value_of(name), "FINAL_VAR")

        def SUBMIT(*values: object, **fields: object) -> None:  # noqa: N802 - likewise
            """Give the answer; several values as a list, several fields as a dict."""
            given: list[object] = [*values, *fields.values()]
            whole = fields if len(fields) > 1 else given
            self._give(self._meant(given[0]) if len(given) == 1 else whole, "FINAL")

        SUBMIT.__qualname__, SUBMIT.__module__ = "SUBMIT", "__main__"
        self.other_names = dict.fromkeys(OTHER_NAMES, SUBMIT)
        self.functions = {"FINAL": FINAL, "FINAL_VAR": FINAL_VAR}
        for name, function in self.functions.items():
            function.__qualname__, function.__module__ = name, "__main__"

    def begin(self, limit_chars: int, *, fresh_answer: bool) -> None:
        """A cell starts."""
        self.limit_chars = limit_chars
        self.given = self._near = None
        if fresh_answer or "answer" not in self._namespace:
            self._namespace["answer"] = Answer({CONTENT: "", READY: False})

    def end(self) -> tuple[Final | None, str | None]:
        """The final of this cell, and the draft.

        That is an `answer` with content that is not ready, or a variable whose name was nearly met.
        """
        bound, mine = self._namespace.get("FINAL"), self.functions["FINAL"]
        if self.given is None and bound is not mine and bound and not callable(bound):
            self._give(bound, "FINAL")  # `FINAL = value`
        given, draft = self._from_answer()
        return given, draft or self._near

    def _from_answer(self) -> tuple[Final | None, str | None]:
        answer = self._namespace.get("answer")
        if isinstance(answer, str):  # bound anew: the best there is, and not said to be ready
            return self.given, self._cut(answer) or None
        if not isinstance(answer, dict):
            return self.given, None
        content = self._named_by(answer.get(CONTENT))
        if content is None or content == "":
            return self.given, None
        if answer.get(READY):
            # Said once: an answer that is not taken must be made ready again.
            answer[READY] = False
            if self.given is None:
                self._give(content, "answer")
                return self.given, None
        return self.given, self._cut(as_text(content))

    def _give(self, value: object, via: str) -> None:
        text = as_text(value)
        self.given = [self._cut(text), via, str.__len__(text) > self.limit_chars]

    def _cut(self, text: str) -> str:
        # Of a subclass only what str itself says, and never a copy of the whole.
        return str.__getitem__(text, slice(self.limit_chars))

    def _meant(self, value: object) -> object:
        """The value of the variable that a string names and nothing else, or the string itself."""
        named = self._named_by(value)
        if named is not value:
            sys.stdout.write(f"[FINAL: {value!r} is a variable of yours; its value was given]\n")
        return named

    def _named_by(self, value: object) -> Any:
        if type(value) is not str:
            return value
        name = value.strip().strip("`")
        if name[:1] == "{" and name[-1:] == "}":
            name = name[1:-1]
        if not name.isidentifier() or name not in self._user_names():
            return value
        bound = self._namespace.get(name)
        return value if bound is None or callable(bound) else bound

    def _value_of(self, name: object) -> object:
        if not isinstance(name, str):
            return name
        known = [*self._user_names(), "answer"]
        bound = name.strip().strip("\"'`")
        if bound in known:
            value = self._namespace.get(bound)
            return value.get(CONTENT) if bound == "answer" and isinstance(value, dict) else value
        if not bound.isidentifier() or any(self._namespace.get(near) is name for near in known):
            return name
        near = difflib.get_close_matches(bound, known, n=3, cutoff=0.4)
        if near and difflib.get_close_matches(bound, near[:1], cutoff=NEAR):
            self._near = self._cut(as_text(self._namespace.get(near[0]))) or None
        near = near or known[:5]
        raise NameError(f"FINAL_VAR: no variable {bound!r}; bound are {', '.join(near)}")
