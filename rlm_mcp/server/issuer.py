"""Tokens of an OAuth issuer, verified as signed JWTs (RFC 9068) with the keys it publishes."""

import logging
from typing import Any

import anyio.to_thread
import jwt
from mcp.server.auth.provider import AccessToken

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]
FETCH_S = 10.0
LEEWAY_S = 30.0

logger = logging.getLogger(__name__)


class JwtVerifier:
    """The SDK's `TokenVerifier` over an issuer's keys, which are fetched when first needed.

    Keys are kept for five minutes; an unknown key has them fetched again, at most twice a minute.
    """

    def __init__(self, issuer: str, resource: str, keys_url: str) -> None:
        self._issuer = issuer
        self._resource = resource
        self._keys = jwt.PyJWKClient(keys_url, timeout=FETCH_S)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token it is; None if it is not of this issuer, for this server, and in time."""
        try:
            claims = await anyio.to_thread.run_sync(self._claims, token)
        except jwt.PyJWTError as error:
            logger.warning("a token was refused: %s: %s", type(error).__name__, error)
            return None
        subject = claims["sub"]
        client = claims.get("client_id") or claims.get("azp") or subject
        scope = claims.get("scope") or claims.get("scp") or ""
        return AccessToken(
            token="",
            client_id=str(client),
            scopes=scope.split() if isinstance(scope, str) else [str(each) for each in scope],
            expires_at=int(claims["exp"]),
            resource=self._resource,
            subject=str(subject),
            claims={"iss": self._issuer},
        )

    def _claims(self, token: str) -> dict[str, Any]:
        key = self._keys.get_signing_key_from_jwt(token)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=self._resource,
            issuer=self._issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims
