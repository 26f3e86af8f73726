"""Reviews in Strawberry, which the router executes itself: no server, no port."""

import strawberry

REVIEWS = {"1": ["Backwards.", "Splendid."], "2": ["Short."]}


@strawberry.type
class Review:
    text: str
    book: "Book"


@strawberry.federation.type(keys=["id"])
class Book:
    id: strawberry.ID

    @strawberry.field
    def reviews(self) -> list[Review]:
        return [Review(text=text, book=self) for text in REVIEWS.get(self.id, [])]

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> "Book":
        return cls(id=id)


@strawberry.type
class Query:
    @strawberry.field
    def latest_review(self) -> Review:
        return Review(text="Short.", book=Book(id=strawberry.ID("2")))

    @strawberry.field
    def review_of_an_unknown_book(self) -> Review | None:
        return Review(text="Lost.", book=Book(id=strawberry.ID("9")))


schema = strawberry.federation.Schema(query=Query)
