"""The zero-copy str proves itself, and what stands in for it where it cannot is equal."""

import pytest

from rlm_mcp.repl.guest import text
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
