"""Files that likely hold keys or passwords: told by their names, some by how they begin.

They are left out of folders and globs; who names such a file gets it.
"""

import re

from rlm_mcp.rules import LoadRules

REASON = "likely secret; name it to load it"
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
# The forms that the issuers document: cloud, forge, package index and model keys, and our own.
_TOKEN = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|github_pat_\w{22}|"
    rb"glpat-[\w-]{20}|xox[abprs]-[\w-]{10}|AIza[\w-]{35}|sk-[\w-]{20}|npm_\w{36}|pypi-[\w-]{50}|"
    rb"rlm_[\w-]{43}|"
    rb"(?i:_authToken|_password|^password)\s*[=:]\s*[^\s$<{]{8}",
    re.MULTILINE,
)


def reason(path: str, rules: LoadRules) -> str | None:
    """Why a file is left out by its name, None if it is not."""
    return REASON if not rules.secrets and is_secret(path) else None


def guards(path: str, rules: LoadRules) -> bool:
    """Whether a secret in a file keeps it out."""
    return not rules.secrets and may_be_secret(path)


def is_secret(path: str) -> bool:
    """Whether the name alone says so; `path` has slashes."""
    name = path[path.rfind("/") + 1 :]
    if name.startswith(".env."):
        return not name.endswith(_SAMPLES)
    return name in _NAMES or name.endswith(_SUFFIXES) or path.endswith(_PLACES)


def may_be_secret(path: str) -> bool:
    """Whether it depends on what stands in it."""
    return path.endswith(_READ_SUFFIXES) or path[path.rfind("/") + 1 :] in _READ_NAMES


def shows_secret(head: bytes) -> bool:
    """Whether a file of such a name, which begins with `head`, holds a key or a token."""
    return _TOKEN.search(head) is not None
