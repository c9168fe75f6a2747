"""What a GGUF model file says of itself; only its header is read.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rlm_mcp.errors import ModelUnusable

MAGIC = b"GGUF"
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"} | {
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_MOST_KEPT = 4096
_MOST_BYTES = 1 << 24
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf\Z")
_CACHE_VALUE_BYTES = 2  # half floats, llama.cpp's default


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, all its parts together: sizes in bytes, None where the header does not tell.

    `cache_bytes` is what one token of context takes in memory, keys and values of all layers.
    """

    path: Path
    size_bytes: int
    trained_tokens: int | None
    cache_bytes: int | None


def read_model(path: Path) -> ModelFile:
    """Read the header of a model file.

    Raises:
        ModelUnusable: there is no such file, or it is no GGUF.
    """
    check(path)
    try:
        with path.open("rb") as file:
            fields = _fields(file)
        size = sum(part.stat().st_size for part in parts(path))
    except (struct.error, ValueError, OSError) as error:
        raise ModelUnusable(
            f"{path} breaks off or is damaged: {error}.", "Download it again."
        ) from error
    arch = fields.get("general.architecture")
    return ModelFile(
        path=path,
        size_bytes=size,
        trained_tokens=_count(fields.get(f"{arch}.context_length")),
        cache_bytes=_cache_bytes({k.removeprefix(f"{arch}."): v for k, v in fields.items()}),
    )


def check(path: Path) -> None:
    """See whether a file is a model, by its first bytes.

    Raises:
        ModelUnusable: there is no such file, or it is no GGUF.
    """
    try:
        with path.open("rb") as file:
            is_model = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise ModelUnusable(
            f"RLM_MODEL_PATH: {path} cannot be read: {error.strerror or error}.",
            "Set it to a GGUF file, or to one on the hub: org/repo:file.gguf.",
        ) from error
    if not is_model:
        raise ModelUnusable(
            f"RLM_MODEL_PATH: {path} is no GGUF file.",
            "llama.cpp reads models in that format only; most are offered in it, too.",
        )


def parts(path: Path) -> list[Path]:
    """The file itself, or all files of a model that was split, by the name of its first."""
    found = _SHARD.search(path.name)
    if found is None:
        return [path]
    stem, total = path.name[: found.start()], int(found[2])
    return [path.with_name(f"{stem}-{n:05}-of-{total:05}.gguf") for n in range(1, total + 1)]


def _fields(file: BinaryIO) -> dict[str, Any]:
    _, version, _, count = struct.unpack("<4sIQQ", _exactly(file, 24))
    if version not in {2, 3}:
        raise ValueError(f"GGUF version {version}")
    fields = {}
    for _ in range(count):
        key = _string(file).decode("utf-8", "replace")
        fields[key] = _value(file, _number(file, "<I"))
    return fields


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file).decode("utf-8", "replace")
    if kind != _ARRAY:
        return _number(file, _form(kind))
    inner, count = _number(file, "<I"), _number(file, "<Q")
    if inner == _STRING:
        # Hundreds of thousands of tokens, none of which is needed.
        for _ in range(count):
            file.seek(_number(file, "<Q"), 1)
        return None
    form = _form(inner)
    if count > _MOST_KEPT:
        file.seek(count * struct.calcsize(form), 1)
        return None
    return [_number(file, form) for _ in range(count)]


def _form(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError(f"unknown kind of field {kind}")
    return _NUMBERS[kind]


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, _exactly(file, struct.calcsize(form)))[0]


def _string(file: BinaryIO) -> bytes:
    return _exactly(file, _number(file, "<Q"))


def _exactly(file: BinaryIO, count: int) -> bytes:
    if count > _MOST_BYTES:
        raise ValueError(f"a field of {count:,} bytes")
    read = file.read(count)
    if len(read) < count:
        raise ValueError("the header is not whole")
    return read


def _cache_bytes(fields: dict[str, Any]) -> int | None:
    """Of the fields without their architecture; too much, if anything, for unusual attention."""
    layers, heads = _count(fields.get("block_count")), _count(fields.get("attention.head_count"))
    width = _count(fields.get("embedding_length"))
    if layers is None or heads is None or width is None:
        return None
    cached = fields.get("attention.head_count_kv", heads)
    total = sum(cached) if isinstance(cached, list) else layers * cached
    key = fields.get("attention.key_length", width // heads)
    value = fields.get("attention.value_length", width // heads)
    return int(total * (key + value) * _CACHE_VALUE_BYTES)


def _count(value: Any) -> int | None:
    if isinstance(value, list):
        value = max(value, default=None)
    return value if isinstance(value, int) and value > 0 else None
