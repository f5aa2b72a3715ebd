"""The shapes of requests and answers. Fields that a PATCH leaves out stay as they are."""

from importlib.resources import files
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from chassis.auth import UserRole
from chassis.pagination import PageAnswer, PageQuery
from chassis.strict import Answer, Id, QueryBool, QueryText, RequestBody, Time

COUNTRIES = frozenset(files("accounts").joinpath("data/countries.txt").read_text().split())
"""ISO 3166-1 alpha-2."""


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise PydanticCustomError("email", "must be an e-mail address") from error


def _country(value: str) -> str:
    if value not in COUNTRIES:
        raise PydanticCustomError("country", "must be a country's two capital letters (ISO 3166-1), e.g. IN")
    return value


Email = Annotated[
    str,
    StringConstraints(max_length=254),
    AfterValidator(_email),
    Field(examples=["asha@example.com"], json_schema_extra={"format": "email"}),
]
NewPassword = Annotated[
    str, StringConstraints(min_length=8, max_length=128), Field(examples=["a sentence only you would say"])
]
"""Spaces count and stay."""
Password = Annotated[
    str, StringConstraints(min_length=1, max_length=128), Field(examples=["a sentence only you would say"])
]
Phone = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"), Field(examples=["+919876543210"])]
Country = Annotated[str, AfterValidator(_country), Field(examples=["IN"], json_schema_extra={"pattern": "^[A-Z]{2}$"})]
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
PersonName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=ONE_LINE),
    Field(examples=["Asha Verma"]),
]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=ONE_LINE),
    Field(examples=["12 Temple Road"]),
]
ShortLine = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True, pattern=ONE_LINE)]
City = Annotated[ShortLine, Field(examples=["Pune"])]
State = Annotated[ShortLine, Field(examples=["Maharashtra"])]
Label = Annotated[ShortLine, Field(examples=["Home"])]
PostalCode = Annotated[
    str,
    StringConstraints(max_length=12, strip_whitespace=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9 \-]*$"),
    Field(examples=["411001"]),
]
Role = Annotated[UserRole, Field(strict=False)]
"""Given as its text, which a strict model would refuse."""


def _hide_defaults(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


ABSENT: Any = None
"""Default of a PATCH field; never read, since only given fields are applied."""


class Changes(RequestBody):
    """A PATCH body: what it leaves out stays, null clears where there may be nothing."""

    model_config = ConfigDict(json_schema_extra=_hide_defaults)

    def given(self) -> dict[str, Any]:
        """The fields that the client sent."""
        return self.model_dump(exclude_unset=True)


class Registration(RequestBody):
    email: Email
    password: NewPassword
    full_name: PersonName
    phone: Phone | None = None


class SignIn(RequestBody):
    email: Email
    password: Password


class Refresh(RequestBody):
    refresh_token: Annotated[
        str,
        StringConstraints(min_length=1, max_length=200),
        Field(examples=["HhMqQNa-SSVEio0IobcWYuJV7Lno_kZOdhCdYB5R88w"]),
    ]


class PasswordChange(RequestBody):
    current_password: Password
    new_password: NewPassword


class ProfileChanges(Changes):
    full_name: PersonName = ABSENT
    phone: Phone | None = None


class UserChanges(Changes):
    role: Role = ABSENT
    is_active: bool = ABSENT


class PostalAddress(RequestBody):
    recipient_name: PersonName
    line1: Line
    line2: Line | None = None
    city: City
    state: State
    postal_code: PostalCode
    country: Country
    phone: Phone | None = None


class NewAddress(PostalAddress):
    label: Label | None = None
    is_default_shipping: bool = False
    is_default_billing: bool = False


class AddressChanges(Changes):
    recipient_name: PersonName = ABSENT
    line1: Line = ABSENT
    line2: Line | None = None
    city: City = ABSENT
    state: State = ABSENT
    postal_code: PostalCode = ABSENT
    country: Country = ABSENT
    phone: Phone | None = None
    label: Label | None = None
    is_default_shipping: bool = ABSENT
    is_default_billing: bool = ABSENT


class UserQuery(PageQuery):
    search: QueryText | None = None
    """Beginning of the e-mail or of the name."""
    role: Role | None = None
    is_active: QueryBool | None = None


class UserView(Answer):
    id: Id
    email: str
    full_name: str
    phone: str | None
    role: UserRole
    email_verified: bool
    is_active: bool
    created_at: Time


class TokensView(Answer):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the kind of token, not one
    expires_in: int
    """Seconds until the access token is over; then refresh it."""
    refresh_token: str
    """Good for one use."""


class SignedInView(Answer):
    user: UserView
    tokens: TokensView


class RefreshedView(Answer):
    tokens: TokensView


class SessionView(Answer):
    id: Id
    user_agent: str | None
    created_at: Time
    last_used_at: Time
    expires_at: Time
    is_current: bool


class AddressView(Answer):
    id: Id
    label: str | None
    recipient_name: str
    line1: str
    line2: str | None
    city: str
    state: str
    postal_code: str
    country: str
    phone: str | None
    is_default_shipping: bool
    is_default_billing: bool


class PostalAddressView(Answer):
    """An address as orders copies it."""

    recipient_name: str
    line1: str
    line2: str | None
    city: str
    state: str
    postal_code: str
    country: str
    phone: str | None


class UserList(PageAnswer):
    items: list[UserView]


class SessionList(PageAnswer):
    items: list[SessionView]


class AddressList(PageAnswer):
    items: list[AddressView]


class RevokedSession(Answer):
    session_id: Id
    expires_at: int
    """Unix seconds at which its last access token has expired."""


class RevokedSessions(Answer):
    items: list[RevokedSession]
