"""A REPL to drive through the five verbs, in every box that can be on this machine."""

import functools
import itertools
import json
from pathlib import Path

import anyio
import pytest
from repl_driver import Driver

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import ContextInfo, TextKind

# Boxes of the tests' own, found as the others are.
boxes.__path__.append(str(Path(__file__).with_name("boxes")))


@pytest.fixture
def cache(program_cache):
    return program_cache


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "needs(*what): in boxes that lack one of these, by their own word, it is skipped"
    )


async def opened(cache, box):
    async with LocalBackend(cache, box) as backend:
        await Driver(backend).open()


@pytest.fixture(scope="session")
def refusal_of(program_cache):
    """Why a box cannot be here, None if it can. A container's service is none of our program."""

    @functools.cache
    def look(box: str) -> str | None:
        rules = boxes.load(box)
        try:
            rules.require()
            if rules.ISOLATION == "container":
                anyio.run(opened, program_cache, box)
        except SandboxUnavailable as refusal:
            return refusal.message
        return None

    return look


@pytest.fixture(params=boxes.names())
def box(request, refusal_of):
    rules = boxes.load(request.param)
    if refusal := refusal_of(request.param):
        pytest.skip(refusal)
    needed = {what for mark in request.node.iter_markers("needs") for what in mark.args}
    if lacking := needed & rules.LACKS:
        pytest.skip(f"the {request.param} box lacks {', '.join(sorted(lacking))}")
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
