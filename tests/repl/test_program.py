"""The guest's program on disk: built once, and cleared away when no version uses it any more."""

import os

from rlm_mcp.repl import program


def test_a_program_is_built_once_and_old_ones_of_other_versions_go(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    old, recent = cache / "guest-cpython-311-0123.bin", cache / "guest-cpython-311-4567.bin"
    old.write_bytes(b"")
    recent.write_bytes(b"")
    os.utime(old, (0, 0))
    built = program.build(cache).file
    assert set(cache.iterdir()) == {recent, built}
    os.utime(built, (0, 0))
    assert program.build(cache).file == built
    assert built.stat().st_mtime > 0
