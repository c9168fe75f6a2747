"""Files that likely hold keys or passwords: told by their names, some by how they begin.

They are left out of folders and globs; who names such a file gets it. A file with one of our own
keys in it nobody gets: models and code would read it.
"""

import re
from dataclasses import dataclass, field
from typing import Self

from blake3 import blake3

from rlm_mcp.rules import LoadRules

REASON = "likely secret; name it to load it"
OWN = "secret: it holds a key of this server's own"
_NAMES = frozenset(
    {
        ".env", ".git-credentials", ".htpasswd", ".netrc", ".pgpass", "_netrc",
        "id_dsa", "id_ecdsa", "id_ed25519", "id_rsa",
    }
)  # fmt: skip
_SUFFIXES = (".jks", ".kdbx", ".keystore", ".p12", ".pfx", ".ppk", ".token")
_PLACES = (".aws/credentials", ".docker/config.json", ".kube/config")
_SAMPLES = (".dist", ".example", ".sample", ".template")
_READ_NAMES = frozenset(
    {
        ".mcp.json", ".npmrc", ".pypirc", ".yarnrc.yml", "credentials", "mcp.json", "pip.conf",
        "token", "tokens",
    }
)  # fmt: skip
_READ_SUFFIXES = (".key", ".pem", ".tfvars", *_SAMPLES)
# Where MCP clients keep their servers, with the environment of each.
_CLIENT_NAMES = frozenset(
    {
        ".claude.json", "claude_desktop_config.json", "cline_mcp_settings.json", "config.toml",
        "config.yaml", "mcp_config.json", "mcp_settings.json", "opencode.json", "settings.json",
    }
)  # fmt: skip
_OURS = (
    rb"\bRLM_(?:SUB_)?API_KEY[\"']?\s*[=:]\s*[\"']?[^\s\"'$<{]{8}|"
    rb"^(?:sub_)?api_key\s*=\s*[\"'][^\s\"'$<{]{8}"
)
_OUR_KEY = re.compile(_OURS, re.MULTILINE)
# The forms that the issuers document: cloud, forge, package index and model keys, and our own.
_TOKEN = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|github_pat_\w{22}|"
    rb"glpat-[\w-]{20}|xox[abprs]-[\w-]{10}|AIza[\w-]{35}|sk-[\w-]{20}|npm_\w{36}|pypi-[\w-]{50}|"
    rb"rlm_[\w-]{43}|"
    rb"(?i:_authToken|_password|^password)\s*[=:]\s*[^\s$<{]{8}|" + _OURS,
    re.MULTILINE,
)


def reason(path: str, rules: LoadRules) -> str | None:
    """Why a file is left out by its name, None if it is not."""
    return REASON if not rules.secrets and is_secret(path) else None


@dataclass(frozen=True, slots=True)
class Guard:
    """What keeps a file out once its beginning shows it: any key or token, or one of our own.

    As text it is another one as soon as it finds something else, and tells no key.
    """

    signs: re.Pattern[bytes] | None = None
    keys: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, path: str, rules: LoadRules) -> "Guard":
        """Of a file in a folder, an archive or a repository."""
        signs = None if rules.secrets else _signs(path)
        return cls(signs, rules.keys) if signs or rules.keys else UNGUARDED

    @classmethod
    def of_named(cls, rules: LoadRules) -> Self:
        """Of a file that was named itself."""
        return cls(keys=rules.keys)

    def reason(self, head: bytes) -> str | None:
        """Why a file that begins with `head` is left out, None if it is not."""
        if any(key in head for key in self.keys):
            return OWN
        return REASON if self.signs and self.signs.search(head) else None

    def __str__(self) -> str:
        known = blake3(b" ".join(self.keys)).hexdigest(4) if self.keys else ""
        return f"{self.signs is not None} {known}".rstrip()


UNGUARDED = Guard()


def is_secret(path: str) -> bool:
    """Whether the name alone says so; `path` has slashes."""
    name = path[path.rfind("/") + 1 :]
    if name.startswith(".env."):
        return not name.endswith(_SAMPLES)
    return name in _NAMES or name.endswith(_SUFFIXES) or path.endswith(_PLACES)


def _signs(path: str) -> re.Pattern[bytes] | None:
    """What it depends on in such a file, None if its name lets it through."""
    name = path[path.rfind("/") + 1 :]
    if name in _READ_NAMES or path.endswith(_READ_SUFFIXES):
        return _TOKEN
    return _OUR_KEY if name in _CLIENT_NAMES else None
