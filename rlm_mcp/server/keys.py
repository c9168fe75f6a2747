"""The keys of an OAuth issuer (RFC 7517), fetched seldom, whatever tokens ask for."""

import logging
from collections.abc import Collection

import anyio
import anyio.to_thread
import jwt

FETCH_S = 10.0
PAUSE_S = 30.0
FRESH_S = 300.0
KEPT_S = 3600.0

logger = logging.getLogger(__name__)


class Keys:
    """Those at a URL that verify with one of the `algorithms`.

    They are fetched when first needed, when they are older than five minutes, and when a token
    names one that is not there; never twice in `PAUSE_S` seconds, also where that fails. While it
    fails those from before are good for an hour.
    """

    def __init__(self, url: str, algorithms: Collection[str]) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_S)
        self._algorithms = algorithms
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = -KEPT_S
        self._asked_at = -KEPT_S
        self._fetching = anyio.Lock()
        # A slow issuer takes none of the threads that all others share.
        self._threads = anyio.CapacityLimiter(1)

    async def find(self, kid: object) -> jwt.PyJWK | None:
        """The key of that name, None if the issuer has none."""
        if not isinstance(kid, str):
            return None
        if not self._is_known(kid):
            async with self._fetching:
                if not self._is_known(kid):
                    await self._fetch()
        is_kept = anyio.current_time() - self._fetched_at < KEPT_S
        return self._keys.get(kid) if is_kept else None

    def _is_known(self, kid: str) -> bool:
        """Whether no fetch would tell more of it, or none may be made."""
        now = anyio.current_time()
        is_fresh = kid in self._keys and now - self._fetched_at < FRESH_S
        return is_fresh or now - self._asked_at < PAUSE_S

    async def _fetch(self) -> None:
        self._asked_at = anyio.current_time()
        try:
            found = await anyio.to_thread.run_sync(
                self._client.fetch_data, limiter=self._threads, abandon_on_cancel=True
            )
            keys = jwt.PyJWKSet.from_dict(found).keys
        except (jwt.PyJWTError, ValueError, OSError) as error:
            logger.error("the issuer's keys cannot be fetched: %s", type(error).__name__)  # noqa: TRY400 - a traceback adds nothing
            return
        self._fetched_at = self._asked_at
        self._keys = {
            key.key_id: key
            for key in keys
            if key.key_id
            and key.public_key_use in {"sig", None}
            and key.algorithm_name in self._algorithms
        }
