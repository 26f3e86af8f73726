"""Books in Strawberry, behind its ASGI view: uvicorn books:app --port 4001"""

from typing import Optional

import strawberry
from strawberry.asgi import GraphQL
from strawberry.types import Info

TITLES = {"1": "Erewhon", "2": "Flatland"}


@strawberry.federation.type(keys=["id"])
class Book:
    id: strawberry.ID
    title: str

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> Optional["Book"]:
        return cls(id=id, title=TITLES[id]) if id in TITLES else None


@strawberry.type
class Query:
    @strawberry.field
    def books(self) -> list[Book]:
        return [Book(id=id, title=title) for id, title in TITLES.items()]

    @strawberry.field
    def language(self, info: Info) -> str | None:
        return info.context["request"].headers.get("accept-language")


schema = strawberry.federation.Schema(query=Query)
app = GraphQL(schema)
