"""A REPL to drive through the five verbs, in every box that can be on this machine."""

import itertools
import json
from collections.abc import Callable

import pytest

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import (
    CallAsked,
    Cell,
    CellResult,
    ContextInfo,
    ReplLimits,
    ReplSpec,
    Reply,
    SubReply,
    SubRequest,
    TextKind,
)

LIMITS = ReplLimits(cell_s=20.0, memory_bytes=512 << 20, output_chars=2_000)


def echo(request: SubRequest) -> SubReply:
    """The model of these tests."""
    return SubReply(f"<{request.prompt}>")


class Driver:
    """One backend and its cells, each run to its end."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.calls: list[CallAsked] = []
        self._ids = (f"cell-{number}" for number in itertools.count(1))

    async def open(self, handle="h", epoch=1, contexts=(), limits=LIMITS):
        return await self.backend.open(ReplSpec(handle, epoch, tuple(contexts), limits))

    async def run(
        self,
        code: str,
        handle: str = "h",
        model: Callable[[SubRequest], SubReply] = echo,
        **cell: bool,
    ) -> CellResult:
        cell_id = next(self._ids)
        cursor = await self.backend.submit(handle, Cell(cell_id, code, **cell))
        replies: list[Reply] = []
        while True:
            batch = await self.backend.pump(handle, cell_id, cursor, replies, wait_s=60)
            cursor, replies = batch.cursor, []
            for event in batch.events:
                if not isinstance(event, CallAsked):
                    return event.result
                self.calls.append(event)
                replies.append(Reply(event.call_id, tuple(map(model, event.requests))))

    async def value(self, expression: str, handle: str = "h") -> str:
        """What an expression shows when it is the last one of a cell."""
        result = await self.run(expression, handle)
        assert result.status == "ok", result.error
        return result.output.rstrip("\n")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("program")


@pytest.fixture(params=boxes.names())
def box(request):
    try:
        boxes.find(request.param)
    except SandboxUnavailable as refusal:
        pytest.skip(refusal.message)
    return request.param


@pytest.fixture
async def repl(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open()
        yield driver


@pytest.fixture
def snapshot(tmp_path):
    """Writes the blob and the manifest of documents, as the store does."""
    numbers = itertools.count()

    def write(documents: dict[str, str], name="book", kind=TextKind.ASCII) -> ContextInfo:
        blob, places = "", []
        for path, text in documents.items():
            if len(documents) > 1:
                blob += f"=== {path} ===\n"
            places.append([path, len(blob), len(text), text.count("\n") + 1, len(text) * 2])
            blob += text + ("\n" if len(documents) > 1 else "")
        folder = tmp_path / f"context{next(numbers)}"
        folder.mkdir()
        (folder / "blob").write_bytes(blob.encode(kind.codec, "surrogatepass"))
        manifest = {"format": 1, "id": "id", "kind": kind, "documents": places, "skipped": []}
        (folder / "manifest").write_text(json.dumps(manifest), encoding="utf-8")
        return ContextInfo(
            id=f"id-{folder.name}",
            name=name,
            documents=len(documents),
            bytes=len(blob.encode("utf-8", "surrogatepass")),
            chars=len(blob),
            lines=blob.count("\n") + 1,
            tokens_estimate=len(blob) // 4,
            skipped=(),
            kind=kind,
            blob=folder / "blob",
            manifest=folder / "manifest",
        )

    return write
