"""Archives and compressed files: read in place, and none of them trusted."""

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile

import pytest
from contents import contents

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import SourceForbidden, SourceMissing, SourceTooLarge, SourceUnreadable
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Skip

pytestmark = pytest.mark.anyio

FILES = {"src/b.py": "print('b')\n", "README": "größer\n", "src/a.py": "print('a')\n"}
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
MB = 1 << 20


def zipped(files, method=zipfile.ZIP_DEFLATED):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return raw.getvalue()


def member_of(name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, io.BytesIO(content)


def tarred(files, *special):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            archive.addfile(
                *member_of(name, content if isinstance(content, bytes) else content.encode())
            )
        for member in special:
            archive.addfile(member)
    return raw.getvalue()


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture
def load_bytes(store, tree):
    """Load a file of these bytes and this name."""

    async def loading(name, raw, **more):
        return await load(store, [str(tree({name: raw}) / name)], **more)

    return loading


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
async def test_a_zip_is_a_folder_of_its_members(store, load_bytes, method):
    info = await load_bytes("src.zip", zipped(FILES, method))
    assert (info.name, contents(store, info)) == ("src.zip", FILES)
    assert list(contents(store, info)) == sorted(FILES)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.txz", "a.tar.xz"])
async def test_a_tar_is_read_in_its_own_order(store, load_bytes, name):
    pack = {"z": gzip.compress, "2": bz2.compress, "r": bytes}.get(name[-1], lzma.compress)
    pack = PACKERS["gz"] if name.endswith(("gz", "tgz")) else pack
    pack = PACKERS["xz"] if name.endswith("xz") else pack
    info = await load_bytes(name, pack(tarred(FILES)))
    assert contents(store, info) == FILES
    assert list(contents(store, info)) == list(FILES)


@pytest.mark.parametrize("kind", PACKERS)
async def test_a_compressed_file_is_the_text_it_holds(store, load_bytes, kind):
    text = "".join(f"line {number} größer\n" for number in range(100_000))
    info = await load_bytes(f"app.log.{kind}", PACKERS[kind](text.encode()))
    assert contents(store, info) == {f"app.log.{kind}": text}


async def test_compressed_files_of_a_folder_are_read_and_archives_are_named(store, tree):
    folder = tree({"app.log.1.gz": gzip.compress(b"old\n"), "app.log": "new\n", "a.zip": b"PK"})
    info = await load(store, [str(folder)])
    assert contents(store, info) == {"app.log": "new\n", "app.log.1.gz": "old\n"}
    assert info.skipped == (Skip("a.zip", "archive; name it to load it"),)


async def test_several_gzip_parts_in_one_file_are_one_text(store, load_bytes):
    info = await load_bytes("a.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert contents(store, info) == {"a.gz": "one\ntwo\n"}


async def test_zst_is_read_where_python_has_it(store, load_bytes):
    if importlib.util.find_spec("compression"):
        from compression import zstd

        info = await load_bytes("a.zst", zstd.compress(b"text"))
        assert contents(store, info) == {"a.zst": "text"}
    else:
        with pytest.raises(SourceUnreadable, match=r"zst needs Python 3\.14"):
            await load_bytes("a.zst", b"\x28\xb5\x2f\xfd")


async def test_an_archive_beside_a_folder_has_its_own_paths(store, tree):
    top = tree({"docs/a.md": "a", "old.zip": zipped({"b.md": "b"})})
    info = await load(store, [str(top / "docs"), str(top / "old.zip")])
    assert contents(store, info) == {"docs/a.md": "a", "old.zip/b.md": "b"}


async def test_an_unchanged_archive_is_recognised(store, tree, monkeypatch):
    monkeypatch.setattr("rlm_mcp.contexts.loader.time.time_ns", lambda: 2**62)
    file = tree({"a.zip": zipped(FILES)}) / "a.zip"
    first = await load(store, [str(file)])
    reads = []
    again = await load(store, [str(file)], progress=reads.append)
    assert (again.id, reads) == (first.id, [])


@pytest.mark.parametrize(
    "name", ["../up.txt", "/etc/passwd", "a/../../b.txt", "C:\\x.txt", "\\\\host\\x"]
)
async def test_a_member_that_leads_out_of_its_archive_is_skipped(store, load_bytes, name):
    for archive in ("a.zip", zipped), ("a.tar", tarred):
        info = await load_bytes(archive[0], archive[1]({"in.txt": "in", name: "out"}))
        assert contents(store, info) == {"in.txt": "in"}
        assert [skip.reason for skip in info.skipped] == ["its path leads out of the archive"]


async def test_links_devices_and_secrets_of_a_tar_are_skipped(store, load_bytes):
    raw = tarred(
        {
            "in.txt": "in",
            ".env": "KEY=1",
            "deploy.pem": "-----BEGIN PRIVATE KEY-----",
            ".git/x": "x",
        },
        special("soft", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "in.txt"),
        special("pipe", tarfile.FIFOTYPE),
        special("folder", tarfile.DIRTYPE),
    )
    info = await load_bytes("a.tar", raw)
    assert contents(store, info) == {"in.txt": "in"}
    assert {skip.path: skip.reason for skip in info.skipped} == {
        ".env": "likely secret; name it to load it",
        ".git/x": "git's own",
        "deploy.pem": "likely secret; name it to load it",
        "hard": "hard link",
        "pipe": "no file",
        "soft": "symbolic link",
    }


async def test_links_and_encrypted_members_of_a_zip_are_skipped(store, load_bytes):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("in.txt", "in")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("closed.txt", "closed")
        archive.writestr("folder/", "")
    spoilt = bytearray(raw.getvalue())
    at = spoilt.index(b"closed.txt", spoilt.index(b"PK\1\2"))  # in the list of members
    spoilt[at - 46 + 8] |= 1
    info = await load_bytes("a.zip", bytes(spoilt))
    assert contents(store, info) == {"in.txt": "in"}
    assert info.skipped == (Skip("closed.txt", "encrypted"), Skip("link", "symbolic link"))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
@pytest.mark.parametrize("raw", [b"", b"no archive at all" * 100, b"PK\3\4", b"\x1f\x8b"])
async def test_what_is_no_archive_is_named(load_bytes, name, raw):
    with pytest.raises(SourceUnreadable, match=rf"{name} cannot be read: ") as caught:
        await load_bytes(name, raw)
    assert caught.value.hint


async def test_a_truncated_tar_gives_what_is_whole_and_says_so(store, load_bytes):
    big = {"a.txt": "a" * 2000, "b.txt": os.urandom(40_000).hex(), "c.txt": "c"}
    raw = gzip.compress(tarred(big))
    info = await load_bytes("a.tar.gz", raw[: len(raw) // 2])
    assert contents(store, info) == {"a.txt": big["a.txt"]}
    assert {skip.path for skip in info.skipped} == {"a.tar.gz", "b.txt"}
    assert all("it ends too early" in skip.reason for skip in info.skipped)


async def test_a_damaged_member_is_cut_and_the_rest_is_read(store, load_bytes):
    raw = bytearray(zipped({"a.txt": "a" * 100, "b.txt": os.urandom(3000).hex()}))
    raw[raw.index(b"b.txt") + 1000] ^= 0xFF
    info = await load_bytes("a.zip", bytes(raw))
    assert contents(store, info)["a.txt"] == "a" * 100
    assert [(skip.path, "damaged" in skip.reason) for skip in info.skipped] == [("b.txt", True)]


async def test_a_truncated_compressed_file_is_an_error(load_bytes):
    raw = gzip.compress(os.urandom(10_000).hex().encode())
    with pytest.raises(SourceUnreadable, match=r"a\.gz cannot be loaded: it ends too early"):
        await load_bytes("a.gz", raw[:5000])


@pytest.mark.parametrize("kind", PACKERS)
async def test_a_file_made_to_explode_is_stopped(load_bytes, kind):
    with pytest.raises(SourceUnreadable, match="expands more than 250 times"):
        await load_bytes(f"bomb.{kind}", PACKERS[kind](b"0" * (100 * MB)))


async def test_a_tar_made_to_explode_is_stopped_while_it_is_listed(load_bytes):
    with pytest.raises(SourceTooLarge, match="expands more than 250 times"):
        await load_bytes("bomb.tar.gz", gzip.compress(tarred({"a": b"0" * (100 * MB)})))


async def test_the_holes_of_a_sparse_member_are_not_filled(store, load_bytes):
    sizes = {"major": 1, "minor": 0, "name": "holes", "realsize": 10**12}
    header = tarfile.TarInfo("holes")
    header.pax_headers = {f"GNU.sparse.{key}": str(value) for key, value in sizes.items()}
    written = b"2\n0\n4\n999999999996\n4\n".ljust(512, b"\0") + b"text" * 2
    header.size = len(written)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(header, io.BytesIO(written))
        archive.addfile(*member_of("plain", b"text"))

    info = await load_bytes("a.tar", raw.getvalue())

    assert contents(store, info) == {"plain": "text"}
    assert info.skipped == (Skip("holes", "sparse file"),)


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE])
async def test_a_tar_that_lists_far_more_than_files_is_refused(load_bytes, kind):
    many = [special(f"{number}", kind, "x") for number in range(30)]
    with pytest.raises(SourceTooLarge, match="lists too many files"):
        await load_bytes("a.tar", tarred(FILES, *many), rules=LoadRules(most_files=10))


async def test_a_zip_made_to_explode_is_refused(load_bytes):
    with pytest.raises(SourceTooLarge, match="expands more than 250 times"):
        await load_bytes("bomb.zip", zipped({"a": b"0" * (100 * MB)}))


async def test_a_zip_whose_members_overlap_is_refused(load_bytes):
    """One part of the file is listed many times over (a quine of this kind makes 281 TB)."""
    raw = zipped({"a.txt": os.urandom(5000).hex()})
    directory = raw.index(b"PK\1\2")
    end = raw.index(b"PK\5\6")
    member = raw[directory:end]
    many = b"".join(member.replace(b"a.txt", b"%c.txt" % (97 + number)) for number in range(20))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 20, 20, len(many), directory, 0)
    with pytest.raises(SourceTooLarge, match="its members overlap"):
        await load_bytes("bomb.zip", raw[:directory] + many + tail)


async def test_a_zip_that_lists_more_than_memory_holds_is_refused(load_bytes):
    raw = zipped({"a.txt": "a"})
    end = raw.index(b"PK\5\6")
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 1 << 30, end, 0)
    with pytest.raises(SourceTooLarge, match="lists too many files"):
        await load_bytes("a.zip", raw[:end] + tail)


async def test_a_header_that_asks_for_much_memory_is_refused(load_bytes):
    header = bytearray(tarred({}, special("pax", tarfile.XHDTYPE))[:512])
    header[124:136] = b"%011o\0" % (1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(SourceUnreadable, match="headers is too large"):
        await load_bytes("a.tar", bytes(header) + bytes(10_240))


async def test_a_dictionary_that_asks_for_much_memory_is_refused(load_bytes):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    with pytest.raises(SourceUnreadable, match="Memory usage limit"):
        await load_bytes("a.xz", lzma.compress(b"text", filters=filters))


async def test_an_archive_outside_the_roots_is_not_looked_at(load_bytes, tmp_path):
    rules = LoadRules(roots=(tmp_path / "other",))
    with pytest.raises(SourceForbidden):
        await load_bytes("a.zip", zipped(FILES), rules=rules)


async def test_an_archive_that_is_not_there_is_missing(store, tmp_path):
    with pytest.raises(SourceMissing):
        await load(store, [str(tmp_path / "a.zip")])


async def test_more_members_than_may_be_loaded_are_an_error(load_bytes):
    files = {f"{number}.txt": "x" for number in range(20)}
    with pytest.raises(SourceTooLarge, match="at most 10 files"):
        await load_bytes("a.tar", tarred(files), rules=LoadRules(most_files=10))


async def test_a_suffix_may_be_in_capitals(store, load_bytes):
    assert contents(store, await load_bytes("A.ZIP", zipped(FILES))) == FILES
    assert contents(store, await load_bytes("A.TAR.GZ", gzip.compress(tarred(FILES)))) == FILES
