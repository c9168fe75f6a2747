"""Tokens of an OAuth issuer, verified as signed JWTs (RFC 9068) with the keys it publishes."""

import logging
from typing import Any

import jwt
from mcp.server.auth.provider import AccessToken

from rlm_mcp.server.keys import Keys

# Each verifies with a public key: no HS*, whose key signs too, and no `none`.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY_S = 30.0

logger = logging.getLogger(__name__)


class JwtVerifier:
    """The SDK's `TokenVerifier` over an issuer's keys."""

    def __init__(self, issuer: str, resource: str, keys_url: str) -> None:
        self._issuer = issuer
        self._resource = resource
        self._keys = Keys(keys_url, ALGORITHMS)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token it is; None if it is not of this issuer, for this server, and in time."""
        try:
            key = await self._keys.find(jwt.get_unverified_header(token).get("kid"))
            return None if key is None else self._told(self._claims(token, key))
        except (jwt.PyJWTError, ValueError, OSError, RecursionError) as error:
            # What a token says of itself may be anything: it is not for a log.
            logger.warning("a token was refused: %s", type(error).__name__)
            return None

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
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

    def _told(self, claims: dict[str, Any]) -> AccessToken:
        """What the claims say.

        Raises:
            ValueError: one that says who it is or what it may do is not what it must be.
        """
        subject = _name(claims["sub"])
        client = _name(claims.get("client_id", claims.get("azp", subject)))
        scopes = claims.get("scope", claims.get("scp", ""))
        scopes = scopes.split() if isinstance(scopes, str) else scopes
        if not isinstance(scopes, list) or not all(isinstance(each, str) for each in scopes):
            raise ValueError
        return AccessToken(
            token="",
            client_id=client,
            scopes=scopes,
            expires_at=int(claims["exp"]),
            resource=self._resource,
            subject=subject,
            claims={"iss": self._issuer},
        )


def _name(claim: object) -> str:
    if not isinstance(claim, str) or not claim.strip():
        raise ValueError
    return claim
