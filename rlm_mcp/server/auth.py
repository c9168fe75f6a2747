"""Who calls over HTTP: bearer tokens of a file, or those of an OAuth issuer."""

import json
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken, TokenVerifier, principal_components
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from rlm_mcp.errors import AuthMissing, SettingsInvalid
from rlm_mcp.server.issuer import JwtVerifier
from rlm_mcp.server.listening import is_loopback
from rlm_mcp.server.sessions import Request
from rlm_mcp.server.tokenfile import TokenFile
from rlm_mcp.settings import Settings

PATH = "/mcp"
# The SDK wants an issuer to check any token at all; without a resource URL it tells nobody of it.
NO_ISSUER = AnyHttpUrl("https://issuer.invalid")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Auth:
    """What the SDK checks each request by."""

    verifier: TokenVerifier
    settings: AuthSettings


def auth_of(settings: Settings, verifier: TokenVerifier | None = None) -> Auth | None:
    """How requests are checked, None if they are not.

    The SDK looks into no token itself. Those of the settings' issuer are verified as JWTs, or by
    `verifier`, which tells as `resource` what a token was issued for: any other is refused.

    Raises:
        SettingsInvalid: the file of tokens cannot be used, or what the settings name does not fit.
    """
    if settings.oauth_issuer is not None:
        return _of_issuer(settings, verifier)
    if verifier is not None:
        raise SettingsInvalid("A verifier needs an issuer.", "Set RLM_OAUTH_ISSUER.")
    if settings.token_file is None:
        return None
    file = TokenFile(settings.token_file.expanduser())
    file.refresh()
    return Auth(FileVerifier(file), AuthSettings(issuer_url=NO_ISSUER, resource_server_url=None))


class FileVerifier:
    """The SDK's `TokenVerifier` over a file of tokens."""

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        # One at a time: a file that is read anew lets nobody in until it is read.
        self._threads = anyio.CapacityLimiter(1)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token it is. While the file cannot be used nobody gets in, and stderr says why."""
        try:
            name = await anyio.to_thread.run_sync(self._file.name_of, token, limiter=self._threads)
        except SettingsInvalid as error:
            logger.error("%s", error)  # noqa: TRY400 - it is told whole, a traceback adds nothing
            return None
        return None if name is None else AccessToken(token="", client_id=name, scopes=[])


def who(request: Request) -> str:
    """The principal of a request.

    Raises:
        AuthMissing: it has none: the transport let it through all the same.
    """
    principal = principal_of(getattr(request.request, "scope", {}).get("user"))
    if principal is None:
        raise AuthMissing("The request does not say who makes it.", "Send a bearer token with it.")
    return principal


def principal_of(user: object) -> str | None:
    """The name that a caller's things are kept under, None for one that did not say who it is.

    A person is the same through every client; a client of no person stands for itself.
    """
    if not isinstance(user, AuthenticatedUser):
        return None
    client, issuer, subject = principal_components(user.access_token)
    return json.dumps([issuer, "client", client] if subject is None else [issuer, "user", subject])


def _of_issuer(settings: Settings, verifier: TokenVerifier | None) -> Auth:
    if settings.token_file is not None:
        raise SettingsInvalid(
            "RLM_OAUTH_ISSUER and RLM_TOKEN_FILE are both set.", "Remove one of them."
        )
    if settings.public_url is None:
        raise SettingsInvalid(
            "RLM_OAUTH_ISSUER needs the URL that tokens are issued for.",
            f"Set RLM_PUBLIC_URL, such as https://rlm.example.org; tokens are for its {PATH}.",
        )
    resource = settings.public_url.rstrip("/") + PATH
    issuer = settings.oauth_issuer or ""
    _require_secure("RLM_OAUTH_ISSUER", issuer)
    if verifier is None:
        if settings.oauth_jwks is None:
            raise SettingsInvalid(
                f"There are no keys to verify tokens of {issuer} with.",
                "Set RLM_OAUTH_JWKS; the `jwks_uri` in the issuer's metadata says where they are.",
            )
        _require_secure("RLM_OAUTH_JWKS", settings.oauth_jwks)
        verifier = JwtVerifier(issuer, resource, settings.oauth_jwks)
    return Auth(
        verifier,
        AuthSettings.model_validate(  # from strings: clients compare the issuer letter by letter
            {
                "issuer_url": issuer,
                "resource_server_url": resource,
                "required_scopes": (settings.oauth_scopes or "").split() or None,
                "validate_token_resource": True,
            }
        ),
    )


def _require_secure(name: str, url: str) -> None:
    """Who can change the keys on their way lets anyone in."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise SettingsInvalid(f"{name} is not https.", f"Set {name} to its https:// URL.")
