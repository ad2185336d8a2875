"""A Copernica with many people in it, in a process of its own: ``python -m tests.bench.copernica PORT PEOPLE``."""

from __future__ import annotations

import asyncio
import sys

from esplanade_copernica.twin import CopernicaTwin

FIELDS = ("Firstname", "Lastname", "City", "Newsletter")


async def serve(port: int, people: int) -> None:
    """Listen once everybody is there."""
    twin = CopernicaTwin(CopernicaTwin.demo_settings())
    table = twin.account.database(twin.settings.database_id)
    for name in FIELDS:
        if name not in {each.name for each in table.fields}:
            twin.account.add_field(table, name, "text")
    for number in range(people):
        values = [f"Ada{number}", f"Lovelace{number % 977}", ("Utrecht", "Brno", "Πάτρα")[number % 3], "yes"]
        twin.sign_up(f"person.{number}@load.example", dict(zip(FIELDS, values, strict=True)))
    await twin.start(port=port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
