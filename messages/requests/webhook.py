"""Creating and changing a webhook. Unknown keys are rejected: the webhook would do other things than was meant.

The signing secret never travels in the clear, see `Command.sealed_password`: the API validates it and seals it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field

from messages.limits import LARGEST_ID, TEXT_LENGTH
from messages.requests.base import ErrorMessage, Request
from messages.requests.queries import PageQuery
from messages.webhook_secrets import key_of

_URL_LENGTH: Final = 2000
_MOST_TYPES: Final = 20
# Not digits alone, for a reference that is all digits is an id.
_NAME_FORM: Final = r"^[A-Za-z0-9._-]*[A-Za-z._-][A-Za-z0-9._-]*$"
_TYPE_FORM: Final = r"^[a-z][a-z.-]*$"
# A host that needs no translation, maybe a port, and the characters that RFC 3986 allows behind them.
_URL_FORM: Final = (
    r"^https?://([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"([/?]([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$"
)

SECRET_KEY: Final = "secret"  # noqa: S105 - a key
SECRET_FAULT: Final = (
    "Invalid webhook secret: give whsec_ followed by 24 to 64 bytes in base64, or leave it out to have one made"  # noqa: S105 - a sentence
)
SECRET_NEEDED: Final = (
    "Invalid webhook secret: one that is made could not be told; give your own as data.sealed_password, see: prestager"  # noqa: S105 - a sentence
    " seal"
)
SECRET_IN_CLEAR: Final = (
    "Invalid webhook secret: it must not travel in the clear; give it as data.sealed_password, see: prestager seal"  # noqa: S105 - a sentence
)


def _url(text: str) -> str:
    # What is between brackets, and the port, are read only here; either raises a ValueError.
    if urlsplit(text).port == 0:
        raise ValueError("not a port")
    return text


def _secret(text: str) -> str:
    key_of(text)
    return text


_NO_NAME: Final = "Invalid webhook name: give 1 to 255 letters, digits, dots, dashes and underscores, not digits alone"
_NO_URL: Final = (
    "Invalid webhook url: give http:// or https:// and a host, without user, password and fragment, at most"
    f" {_URL_LENGTH} characters"
)
_NO_TYPES: Final = (
    f"Invalid webhook types: give a list of at most {_MOST_TYPES} beginnings of types, such as strategy. or"
    " step.prestage.failed"
)
_NO_DELIVERY: Final = "Invalid delivery: give the id of a delivery"

Name = Annotated[
    str,
    Field(pattern=_NAME_FORM, max_length=TEXT_LENGTH, description="Name of the webhook, unique."),
    ErrorMessage(_NO_NAME, missing=_NO_NAME),
]
Url = Annotated[
    str,
    Field(
        pattern=_URL_FORM,
        max_length=_URL_LENGTH,
        description="Where events are posted to: a host, and no user, password or fragment.",
    ),
    AfterValidator(_url),
    ErrorMessage(_NO_URL, missing=_NO_URL),
]
Types = Annotated[
    list[Annotated[str, Field(pattern=_TYPE_FORM, max_length=64)]],
    Field(max_length=_MOST_TYPES, description="Beginnings of the types of events that are wanted; none: every type."),
    ErrorMessage(_NO_TYPES),
]
Subcloud = Annotated[
    Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)] | None,
    Field(description="Name of the only subcloud whose events are wanted; null: all."),
    ErrorMessage("Invalid webhook subcloud: give the name of a subcloud, or null for all"),
]
Enabled = Annotated[
    bool, Field(description="Whether events are sent."), ErrorMessage("Invalid webhook enabled: give true or false")
]


class _WebhookRequest(Request):
    model_config = ConfigDict(frozen=True, strict=True)

    unused_names: ClassVar[frozenset[str] | None] = frozenset()


class WebhookRequest(_WebhookRequest):
    """A webhook to be created."""

    name: Name
    url: Url
    types: Types = Field([])
    subcloud: Subcloud = None
    enabled: Enabled = True


class WebhookChange(_WebhookRequest):
    """Changes of a webhook; a field that is left out stays, and its value here does not count."""

    # Made by functions, for a default would be in the documents.
    name: Name = Field(default_factory=str)
    url: Url = Field(default_factory=str)
    types: Types = Field(default_factory=list)
    subcloud: Subcloud = Field(default_factory=lambda: None)
    enabled: Enabled = Field(default_factory=lambda: True)
    rotate: Annotated[
        bool,
        Field(description="Have a new secret made; the old one signs too for a day."),
        ErrorMessage("Invalid webhook rotate: give true or false"),
    ] = False


class SecretRequest(Request):
    """The secret that deliveries are signed with."""

    secret: Annotated[
        Annotated[
            str,
            AfterValidator(_secret),
            Field(
                json_schema_extra={
                    "pattern": r"^whsec_([A-Za-z0-9+/]{4}){7,21}"
                    r"([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$",
                    "format": "password",
                }
            ),
        ]
        | None,
        ErrorMessage(SECRET_FAULT),
    ] = Field(None, repr=False, description="`whsec_` and 24 to 64 bytes in base64; where none is given, one is made.")


class WebhookBody(SecretRequest, WebhookRequest):
    """A webhook to be created, as it is sent."""

    model_config = ConfigDict(frozen=True, strict=True)


class WebhookChangeBody(SecretRequest, WebhookChange):
    """Changes of a webhook, as they are sent."""

    model_config = ConfigDict(frozen=True, strict=True)


class RedeliveryRequest(_WebhookRequest):
    """The delivery whose event shall be sent once more."""

    delivery: Annotated[
        int,
        Field(ge=1, lt=LARGEST_ID + 1, description="Id of a delivery."),
        ErrorMessage(_NO_DELIVERY, missing=_NO_DELIVERY),
    ]


class DeliveryQuery(PageQuery):
    """Filter of deliveries."""

    state: Annotated[
        Literal["pending", "delivered", "failed"] | None,
        ErrorMessage("state must be one of pending, delivered, failed"),
    ] = Field(None, description="Only deliveries in this state.")
