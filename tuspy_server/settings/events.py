"""Hooks and webhooks."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from tuspy_server.events.webhooks.endpoint import Endpoint, Format
from tuspy_server.settings.kinds import Seconds, Texts
from tuspy_server.settings.stores import StoreSettings
from tuspy_server.settings.webhooks import Webhook, Webhooks, check_reach, check_secret, check_url

LONE_WEBHOOK: Final = "default"
"""Name of the webhook of `webhook_url`."""


class EventSettings(StoreSettings):
    """How events are delivered, and hooks asked."""

    event_source: str | None = Field(
        default=None,
        min_length=1,
        description="What CloudEvents have as their source; unset: public_url, or else /tuspy-server.",
    )
    hook_seconds: Seconds = Field(default=60.0, gt=0, description="Deadline of one call of a Python hook.")
    hook_attempts: int = Field(
        default=20, ge=1, description="Calls of a failing hook before its event is given up as dead."
    )

    # webhooks
    webhooks: Webhooks = Field(
        default=(),
        description='Endpoints that get events, each such as {"name": "app", "url": "https://app.example.org/hook"}.',
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="One endpoint that gets all events, without more ado."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="Its secret, whsec_ and base64: its calls are signed (Standard Webhooks)."
    )
    webhook_seconds: Seconds = Field(default=15.0, gt=0, description="Deadline of one call of a webhook.")
    webhook_at_once: int = Field(default=16, ge=1, le=1000, description="Most calls of one webhook at once.")
    webhook_days: float = Field(
        default=3.0, gt=0, le=365, allow_inf_nan=False, description="How long a failing webhook is tried again."
    )
    webhook_allow_private: bool = Field(
        default=False, description="Whether webhooks may go to private addresses, and by http."
    )

    # blocking hooks over HTTP
    hook_url: SecretStr | None = Field(
        default=None, description="URL that is asked before something happens, as tusd's blocking hooks are."
    )
    hook_kinds: Texts = Field(
        default=("pre-create",), description="What it is asked: pre-create, pre-finish, pre-terminate."
    )
    hook_secret: SecretStr | None = Field(default=None, description="Secret that signs the questions to hook_url.")
    hook_url_seconds: Seconds = Field(default=10.0, gt=0, description="Deadline of one answer of hook_url.")

    @field_validator("webhook_url", "hook_url")
    @classmethod
    def _urls_are_urls(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            check_url(url.get_secret_value())
        return url

    @field_validator("webhook_secret", "hook_secret")
    @classmethod
    def _secrets_are_strong(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else check_secret(secret)

    @field_validator("hook_kinds")
    @classmethod
    def _kinds_are_known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if not kinds or set(kinds) - {"pre-create", "pre-finish", "pre-terminate"}:
            raise ValueError("must be of pre-create, pre-finish and pre-terminate")
        return kinds

    @model_validator(mode="after")
    def _webhooks_fit_together(self) -> Self:
        names = [webhook.name for webhook in self.all_webhooks]
        if len(set(names)) < len(names):
            raise ValueError("each of webhooks needs a name of its own (that of webhook_url is default)")
        for webhook in self.all_webhooks:
            try:
                check_reach(webhook.url.get_secret_value(), allow_private=self.allows_private(webhook))
            except ValueError as error:
                raise ValueError(f"webhook {webhook.name}: its url {error}") from error
        return self

    @property
    def all_webhooks(self) -> tuple[Webhook, ...]:
        """Those of `webhooks`, and that of `webhook_url`."""
        if self.webhook_url is None:
            return self.webhooks
        secrets = () if self.webhook_secret is None else (self.webhook_secret,)
        return (*self.webhooks, Webhook(name=LONE_WEBHOOK, url=self.webhook_url, secrets=secrets))

    def allows_private(self, webhook: Webhook) -> bool:
        """Whether its address may be one that is not public."""
        return self.webhook_allow_private if webhook.allow_private is None else webhook.allow_private

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where webhooks go, for the relay."""
        return tuple(
            Endpoint(
                name=webhook.name,
                url=webhook.url.get_secret_value(),
                types=webhook.wanted,
                secrets=tuple(secret.get_secret_value() for secret in webhook.secrets),
                format=Format(webhook.format),
                headers={name: value.get_secret_value() for name, value in webhook.headers.items()},
                processing=webhook.processing,
                at_once=webhook.at_once or self.webhook_at_once,
                call_seconds=webhook.seconds or self.webhook_seconds,
                allow_private=self.allows_private(webhook),
            )
            for webhook in self.all_webhooks
        )

    @property
    def cloudevents_source(self) -> str:
        """`source` of all events."""
        return self.event_source or self.public_url or "/tuspy-server"
