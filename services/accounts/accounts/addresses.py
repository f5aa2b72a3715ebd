"""The address book: once it holds an address, exactly one is the default for shipping and one for billing.

The first address becomes both. Making another one the default takes it from the one before; deleting a default
hands it to the newest that is left. Changes of one book are put in line by a lock on its owner.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from accounts.errors import AddressBookFull, AddressNotFound, DefaultAddressNeeded, UserNotFound
from accounts.listing import Page, newest_first
from accounts.models import Address, User
from accounts.schemas import AddressChanges, NewAddress
from chassis.ids import new_id
from chassis.pagination import PageQuery

DEFAULTS = ("is_default_shipping", "is_default_billing")
MOST_ADDRESSES = 50


async def list_addresses(session: AsyncSession, user_id: UUID, *, page: PageQuery) -> Page[Address]:
    """The user's addresses, newest first."""
    own = select(Address).where(Address.user_id == user_id)
    return await newest_first(session, own, key=Address.id, page=page, scope=f"addresses {user_id}")


async def read_address(session: AsyncSession, user_id: UUID, address_id: UUID) -> Address:
    """Raises AddressNotFound, for somebody else's too."""
    own = select(Address).where(Address.id == address_id, Address.user_id == user_id)
    address = await session.scalar(own)
    if address is None:
        raise AddressNotFound
    return address


async def add_address(session: AsyncSession, user_id: UUID, *, new: NewAddress) -> Address:
    """Raises AddressBookFull."""
    await _lock_book(session, user_id)
    count = await session.scalar(select(func.count()).select_from(Address).where(Address.user_id == user_id))
    if count is not None and count >= MOST_ADDRESSES:
        raise AddressBookFull(MOST_ADDRESSES)
    values: dict[str, Any] = new.model_dump()
    for flag in DEFAULTS:
        values[flag] = values[flag] or not count
    await _take_from_others(session, user_id, values)
    address = Address(id=new_id(), user_id=user_id, **values)
    session.add(address)
    await session.flush()
    return address


async def change_address(session: AsyncSession, user_id: UUID, *, address_id: UUID, changes: AddressChanges) -> Address:
    """Raises AddressNotFound, DefaultAddressNeeded."""
    await _lock_book(session, user_id)
    address = await read_address(session, user_id, address_id)
    values = changes.given()
    for flag in DEFAULTS:
        if getattr(address, flag) and values.get(flag) is False:
            raise DefaultAddressNeeded
    await _take_from_others(session, user_id, values)
    for name, value in values.items():
        setattr(address, name, value)
    await session.flush()
    return address


async def delete_address(session: AsyncSession, user_id: UUID, *, address_id: UUID) -> None:
    """Raises AddressNotFound."""
    await _lock_book(session, user_id)
    address = await read_address(session, user_id, address_id)
    await session.delete(address)
    await session.flush()
    heir = await session.scalar(select(Address).where(Address.user_id == user_id).order_by(Address.id.desc()).limit(1))
    if heir is not None:
        for flag in DEFAULTS:
            setattr(heir, flag, getattr(heir, flag) or getattr(address, flag))
        await session.flush()


async def _lock_book(session: AsyncSession, user_id: UUID) -> None:
    owner = select(User.id).where(User.id == user_id).with_for_update(key_share=True)
    if await session.scalar(owner) is None:
        raise UserNotFound


async def _take_from_others(session: AsyncSession, user_id: UUID, values: dict[str, Any]) -> None:
    """Clear the flags that `values` is about to set, since only one address may carry each."""
    for flag in DEFAULTS:
        if values.get(flag):
            column = getattr(Address, flag)
            await session.execute(update(Address).where(Address.user_id == user_id, column).values({flag: False}))
