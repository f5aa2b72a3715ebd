"""What the toy stores."""

from uuid import UUID

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chassis.database import metadata


class Base(DeclarativeBase):
    metadata = metadata()


class Thing(Base):
    """A name and a number, for the sake of having rows."""

    __tablename__ = "things"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    quantity: Mapped[int]
