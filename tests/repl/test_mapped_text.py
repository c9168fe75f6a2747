"""The zero-copy str proves itself, and what stands in for it where it cannot is equal."""

import shutil

import pytest
from repl_driver import Driver

from rlm_mcp.repl import host, program
from rlm_mcp.repl.guest import text
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import TextKind


def test_this_interpreter_takes_mapped_text_for_str():
    assert text.works()


@pytest.mark.parametrize("kind", list(TextKind))
@pytest.mark.parametrize("in_place", [True, False])
def test_mapped_and_decoded_texts_are_equal(tmp_path, kind, in_place):
    written = text.SAMPLES[kind] * 5000
    (tmp_path / "blob").write_bytes(written.encode(kind.codec))
    with (tmp_path / "blob").open("rb") as file:
        size = len(written) * kind.width
        mapped = text.map_text(file.fileno(), size, kind, in_place=in_place)
    assert mapped == written
    assert (text.WIDTHS[kind], text.CODECS[kind]) == (kind.width, kind.codec)


def test_a_pickled_text_is_a_plain_str():
    import pickle

    assert type(pickle.loads(pickle.dumps(text.Text("abc")))) is str


@pytest.mark.anyio
async def test_a_guest_whose_proof_fails_copies_the_text_and_says_so(
    tmp_path, monkeypatch, snapshot
):
    guest = tmp_path / "guest"
    shutil.copytree(program.GUEST, guest)
    with (guest / "text.py").open("a", encoding="utf-8") as source:
        # The characters are not found behind so short a template.
        source.write("\nTEMPLATE_CHARS = 1\n")
    monkeypatch.setattr(program, "GUEST", guest)
    async with LocalBackend(tmp_path / "cache", "plain") as backend:
        repl = Driver(backend)
        state = await repl.open(contexts=[snapshot({"a": "one\ntwo"})])
        assert host.COPIES in state.notice
        assert await repl.value("type(context), lines[1]") == "(<class 'str'>, 'two')"


@pytest.mark.anyio
async def test_a_guest_that_maps_its_texts_says_nothing_of_it(program_cache):
    async with LocalBackend(program_cache, "plain") as backend:
        assert host.COPIES not in (await Driver(backend).open()).notice
