"""Everything that can be set, by flags, environment and file: names, defaults, meanings."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, get_args

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from rlm_mcp import given
from rlm_mcp.conduct import Strategy
from rlm_mcp.rules import Keeping, LoadRules
from rlm_mcp.settings_file import own_path
from rlm_mcp.types import Budget, ReplLimits

PREFIX = given.PREFIX
MB = 10**6
GB = 10**9
DEFAULT_API_URL = "http://localhost:8080/v1"
# Not the words that stand for a key where none is asked: those stand in many texts.
_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])\S{16,}")
_PASSWORD = re.compile(r"//[^/@:\s]*:([^/@\s]+)@")
logger = logging.getLogger(__name__)


class Settings(BaseModel):
    """The settings of one process.

    The file names them as here, the environment in capitals after RLM_.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_url: str | None = Field(
        default=None,
        description=f"OpenAI-compatible endpoint. Unset: {DEFAULT_API_URL} and the usual local"
        " ports are tried once.",
    )
    api_key: SecretStr | None = Field(default=None, description="Key for that endpoint, if any.")
    model_path: str | None = Field(
        default=None,
        description="Model to run here, instead of an endpoint: a GGUF file, or one of the hub as"
        " `org/repo:file.gguf`. Needs the extra `llama`.",
    )
    model: str = Field(default="auto", description="Root model; `auto` takes the endpoint's first.")
    sub_api_url: str | None = Field(
        default=None,
        description="Endpoint of the sub-model, or several that share its calls, with spaces or"
        " commas between them. Unset: the root's.",
    )
    sub_api_key: SecretStr | None = Field(
        default=None, description="Key for that endpoint, or for all of them."
    )
    sub_model: str = Field(
        default="auto", description="Sub-model; `auto` is the root's on the same endpoint."
    )
    context_window: int | None = Field(
        default=None, ge=512, description="Window in tokens, if the endpoint does not tell it."
    )
    concurrency: int | None = Field(
        default=None, ge=1, le=1024, description="Requests at a time. Unset: the endpoint's slots."
    )
    timeout_s: float = Field(
        default=300.0, gt=0, description="Longest silence of an endpoint before a call fails."
    )
    max_output_tokens: int = Field(
        default=4096, ge=16, description="Longest reply asked of a model, in tokens."
    )
    price_in: float | None = Field(default=None, ge=0, description="Root price, 1M tokens in.")
    price_out: float | None = Field(default=None, ge=0, description="Root price, 1M tokens out.")
    price_cached: float | None = Field(
        default=None, ge=0, description="Root price, 1M cached tokens in. Unset: as `price_in`."
    )
    sub_price_in: float | None = Field(
        default=None, ge=0, description="Sub price, 1M tokens in. Unset: the root's if same model."
    )
    sub_price_out: float | None = Field(default=None, ge=0, description="Sub price, out.")
    sub_price_cached: float | None = Field(default=None, ge=0, description="Sub price, cached.")

    strategy: Strategy = Field(
        default="auto",
        description="`direct` puts the text into the prompt, `rlm` never does; `auto` does for a"
        " text that fits the window well.",
    )
    max_turns: int = Field(default=20, ge=1, description="Turns of one run.")
    max_calls: int = Field(default=1000, ge=1, description="Model calls of one run.")
    max_tokens: int | None = Field(default=None, ge=1, description="Tokens of one run, in and out.")
    max_cost: float | None = Field(default=None, ge=0, description="Cost of one run.")
    max_seconds: float = Field(default=1800.0, gt=0, description="Seconds of one run.")
    max_depth: int = Field(
        default=1, ge=1, le=8, description="1: sub-calls; 2 and more: nested REPLs too."
    )
    max_errors: int = Field(default=5, ge=1, description="Failing turns in a row.")

    sandbox: Literal["auto", "linux", "macos", "windows", "monty", "docker", "plain"] = Field(
        default="auto",
        description="What holds model-written code: `auto` takes the system's own sandbox, else"
        " `monty`. `plain` runs it with your rights; every answer then says so.",
    )
    cell_s: float = Field(default=60.0, gt=0, description="Computing time of one cell, seconds.")
    memory_mb: int = Field(default=2048, ge=64, description="Memory of one REPL, MB.")
    output_chars: int = Field(
        default=8000, ge=500, description="Characters of a cell's output shown to the model."
    )

    roots: str | None = Field(
        default=None,
        description=f"Folders that a client may load from, `{os.pathsep}` between them; `*` allows"
        " all. Unset: the working directory, unless that is `/`.",
    )
    secrets: bool = Field(
        default=False, description="Load files of folders that look like keys or passwords, too."
    )
    http: Literal["off", "public", "any"] = Field(
        default="off",
        description="URLs a client may load: none, those at public addresses, or all.",
    )
    max_load_gb: float = Field(default=64, gt=0, description="Most that one load may hold, GB.")
    max_file_gb: float = Field(
        default=64, gt=0, description="Largest file of a load, GB; larger ones are left out."
    )
    max_files: int = Field(default=1_000_000, ge=1, description="Most files of one load.")
    keep_days: float = Field(
        default=30, gt=0, description="Days that a context unused and asked of by no run is kept."
    )
    keep_gb: float = Field(
        default=100, ge=0, description="Room for contexts, GB; beyond it the longest unused go."
    )
    keep_runs_days: float = Field(
        default=90, gt=0, description="Days that a run is kept; what it cost stays in the sums."
    )
    keep_runs_mb: float = Field(
        default=1000, ge=0, description="Room for runs, MB; beyond it the oldest go."
    )
    home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("rlm-mcp", appauthor=False),
        description="Data folder: contexts and journal.",
    )
    wait_s: float = Field(
        default=45.0, ge=0, description="How long `rlm_query` waits before it hands out a run id."
    )
    resume: bool = Field(
        default=False, description="At start, go on with runs whose server crashed or was ended."
    )
    session_ttl_s: float = Field(
        default=3600.0, gt=0, description="Idle time after which a session ends."
    )
    max_sessions: int = Field(default=32, ge=1, description="Sessions open at a time.")
    otel_content: bool = Field(
        default=False,
        description="Spans carry questions, prompts, replies, code and output, too.",
    )

    token_file: Path | None = Field(
        default=None, description="Bearer tokens that the HTTP server takes; see `rlm-mcp token`."
    )
    oauth_issuer: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="OAuth issuer whose tokens the HTTP server takes instead.",
    )
    oauth_jwks: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="URL of that issuer's keys (JWKS), to verify its JWTs with.",
    )
    oauth_scopes: str | None = Field(
        default=None, description="Scopes such a token must have, a space between them."
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+(/[^?#\s]*)?$",
        description="URL by which clients reach the HTTP server, without `/mcp`; a request for"
        " another host is refused.",
    )
    origins: str | None = Field(
        default=None,
        description="Origins of web pages that may call the HTTP server, a space between them.",
    )
    max_body_mb: float | None = Field(
        default=None,
        gt=0,
        description="Largest request over HTTP, MB. Unset: 64, with auth 4; files are not sent.",
    )
    user_sessions: int = Field(
        default=8, ge=1, description="Sessions that one user of the HTTP server has at a time."
    )
    user_runs: int = Field(default=4, ge=1, description="Runs of one user at work at a time.")
    user_load_gb: float = Field(
        default=64, gt=0, description="What one user has loaded in all open sessions, GB."
    )
    user_cost_per_day: float | None = Field(
        default=None,
        gt=0,
        description="What the runs of one user cost in a day (UTC). A run that names no limit may"
        " take an equal share of what is left for each run that can still start.",
    )

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """Settings from overrides (None does not count), then `environment`, then the file.

        `environment` None: the process's own, and the user's settings file. A mapping stands for
        itself: with it a file counts only if its RLM_CONFIG names one.

        Raises:
            SettingsInvalid: a value cannot work, a name does not exist, or the file is no TOML.
        """
        settings, found = cls.salvage(environment, **overrides)
        if found.wrong:
            raise found.wrong[0]
        return settings

    @classmethod
    def salvage(
        cls, environment: Mapping[str, str] | None = None, **overrides: object
    ) -> tuple[Self, given.AllGiven]:
        """As `load`, with defaults for what cannot work, and what was given where.

        That has under `wrong` what cannot work, and why.
        """
        found = given.gather(cls.model_fields, environment, overrides)
        if key := exposed_key(found):
            logger.warning("%s holds %s and others can read it: chmod 600 it.", *key)
        try:
            return cls.model_validate(found.values), found
        except ValidationError as error:
            sound = found.without(error)
            return cls.model_validate(sound.values), sound

    @property
    def budget(self) -> Budget:
        """The budget of a run that names none."""
        return Budget(
            turns=self.max_turns,
            calls=self.max_calls,
            tokens=self.max_tokens,
            cost=self.max_cost,
            seconds=self.max_seconds,
            depth=self.max_depth,
            errors=self.max_errors,
        )

    @property
    def load_rules(self) -> LoadRules:
        """What may be loaded. Follows links in the roots now, so for a worker thread."""
        return LoadRules(
            roots=self._roots,
            secrets=self.secrets,
            http=self.http,
            most_bytes=round(self.max_load_gb * GB),
            most_file_bytes=round(self.max_file_gb * GB),
            most_files=self.max_files,
            private=self._own_places,
            keys=self._own_keys,
        )

    @property
    def _own_places(self) -> tuple[Path, ...]:
        """What holds keys, or texts of others: the data folder, the settings file, the tokens."""
        own = (self.home, own_path(), self.token_file)
        return tuple(path.expanduser().absolute() for path in own if path is not None)

    @property
    def _own_keys(self) -> tuple[bytes, ...]:
        """Keys and passwords of endpoints, as far as one can be told from a word."""
        keys = [key.get_secret_value().strip() for key in (self.api_key, self.sub_api_key) if key]
        for urls in (self.api_url, self.sub_api_url):
            keys += _PASSWORD.findall(urls or "")
        return tuple(dict.fromkeys(key.encode() for key in keys if _KEY.fullmatch(key)))

    @property
    def _roots(self) -> tuple[Path, ...] | None:
        if self.roots == "*":
            return None
        named = [Path(root).expanduser() for root in (self.roots or "").split(os.pathsep) if root]
        here = Path.cwd()
        # A desktop host starts its servers in `/`: that is nobody's project.
        roots = named if self.roots else [here] * (here.parent != here)
        return tuple(root.resolve() for root in roots)

    @property
    def keeping(self) -> Keeping:
        """How long and how many contexts are kept."""
        return Keeping(days=self.keep_days, bytes=round(self.keep_gb * GB))

    @property
    def keeping_runs(self) -> Keeping:
        """How long and how many runs are kept."""
        return Keeping(days=self.keep_runs_days, bytes=round(self.keep_runs_mb * MB))

    @property
    def limits(self) -> ReplLimits:
        """What one REPL may use."""
        return ReplLimits(
            cell_s=self.cell_s,
            memory_bytes=self.memory_mb << 20,
            output_chars=self.output_chars,
        )


def is_secret(name: str) -> bool:
    """Whether a setting is a key, never to be shown."""
    return SecretStr in get_args(Settings.model_fields[name].annotation)


def exposed_key(found: given.AllGiven) -> tuple[Path, str] | None:
    """A settings file that other users can read, and the first key in it; None if there is none."""
    if found.file is None or not found.file.is_exposed:
        return None
    keys = (name for name in found.file.values if name in Settings.model_fields and is_secret(name))
    return next(((found.file.path, name) for name in keys), None)
