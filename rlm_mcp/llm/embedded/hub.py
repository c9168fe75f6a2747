"""Model files of the Hugging Face Hub: downloaded once, gone on with after a break, checked.

Files are in `models/ORG/REPO` of the data folder once their SHA-256 is what the hub says, and not
before. `HF_ENDPOINT` and `HF_TOKEN` are the hub's own settings.
"""

import hashlib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from tqdm.std import tqdm

from rlm_mcp.errors import ModelUnusable
from rlm_mcp.llm.embedded.gguf import parts

_MB = 1e6
_LOCK_S = 1.0
_BLOCK_BYTES = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")


class Stopped(Exception):
    """Nobody waits for the download any more; what has come is kept for the next try."""


@dataclass(slots=True)
class Download:
    """One download, told of by `say`; `stop` may be set from any thread."""

    say: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def fetch(self, repo: str, name: str, home: Path) -> Path:
        """The file of that name in `repo`, from the data folder or else from the hub.

        Raises:
            ModelUnusable: there is none, it may not be had, or it came damaged.
            Stopped: it was told to stop.
        """
        place = home / "models" / repo / name
        for part in parts(place):
            self._fetch_one(repo, part.relative_to(home / "models" / repo).as_posix(), part)
        return place

    def _fetch_one(self, repo: str, name: str, place: Path) -> None:
        if place.is_file():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{place}.lock")
        while not lock.is_locked:
            self._look_up()
            try:
                lock.acquire(timeout=_LOCK_S)
            except filelock.Timeout:
                self.say(f"waiting for another process to download {place.name}")
        try:
            if not place.is_file():
                self._download(repo, name, place)
        except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError) as error:
            raise _unusable(repo, name, error) from error
        finally:
            lock.release()

    def _download(self, repo: str, name: str, place: Path) -> None:
        # Read here, since the client has read it when it was imported.
        hub = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
        told = get_hf_file_metadata(hf_hub_url(repo, name, endpoint=hub), endpoint=hub)
        beside = place.parent / "incoming"
        came = Path(
            hf_hub_download(
                repo,
                name,
                revision=told.commit_hash,
                local_dir=beside,
                endpoint=hub,
                tqdm_class=self._bar(place.name),
            )
        )
        self.say(f"checking {place.name}")
        if _SHA256.fullmatch(told.etag or "") and self._digest(came) != told.etag:
            came.unlink()
            raise ModelUnusable(
                f"{name} of {repo} came damaged: its SHA-256 is not the hub's.",
                "Try again; it is downloaded anew.",
            )
        came.rename(place)

    def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                self._look_up()
                digest.update(block)
        return digest.hexdigest()

    def _look_up(self) -> None:
        if self.stop.is_set():
            raise Stopped

    def _bar(self, shown: str) -> type[tqdm]:
        """What the hub's client takes for a progress bar; it is how a download is stopped, too."""
        download = self

        class Bar(tqdm):  # type: ignore[misc, unused-ignore]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options | {"disable": True})
                self.total, self.came = options.get("total"), options.get("initial") or 0

            def update(self, n: float | None = 1) -> bool | None:
                download._look_up()
                self.came += n or 0
                size = f" of {self.total / _MB:,.0f}" if self.total else ""
                download.say(f"downloading {shown}: {self.came / _MB:,.0f}{size} MB")
                return None

        return Bar


def _unusable(repo: str, name: str, error: Exception) -> ModelUnusable:
    if isinstance(error, GatedRepoError):
        hint = "Accept its terms on its page at the hub and set HF_TOKEN."
    elif isinstance(error, HfHubHTTPError):
        hint = "Set RLM_MODEL_PATH like org/repo:file.gguf, as its page at the hub has it."
    else:
        hint = "Try again: what has come is kept. Or set RLM_MODEL_PATH to a file that is there."
    words = str(error).strip().splitlines() or [type(error).__name__]
    return ModelUnusable(f"{name} of {repo} could not be downloaded: {words[0].rstrip('.')}.", hint)
