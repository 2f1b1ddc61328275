"""Signatures of Standard Webhooks: over id, time and body, one for each secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from standardwebhooks import Webhook


class Signer:
    """Signs with every secret: while a receiver changes its secret, old and new are both good."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [Webhook(secret) for secret in secrets]

    def headers(self, message_id: str, now: datetime, body: str) -> Mapping[str, str]:
        """`webhook-id`, `webhook-timestamp`, and `webhook-signature` where there is a secret.

        Args:
            message_id: the same in every attempt; no dot is in it, which separates what is signed.
            now: aware; receivers refuse what is minutes old, so each attempt has a time of its own.
            body: exactly as it is sent.
        """
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
        if self._webhooks:
            signatures = (webhook.sign(message_id, now, body) for webhook in self._webhooks)
            headers["webhook-signature"] = " ".join(signatures)
        return headers
