"""Books in Ariadne, behind its ASGI view: uvicorn books:app --port 4001"""

from ariadne import QueryType
from ariadne.asgi import GraphQL
from ariadne.contrib.federation import FederatedObjectType, make_federated_schema

TITLES = {"1": "Erewhon", "2": "Flatland"}

query = QueryType()
book = FederatedObjectType("Book")


@query.field("books")
def resolve_books(_, info):
    return [{"id": id, "title": title} for id, title in TITLES.items()]


@query.field("language")
def resolve_language(_, info):
    return info.context["request"].headers.get("accept-language")


@book.reference_resolver
def resolve_book(_, info, representation):
    id = representation["id"]
    return {"id": id, "title": TITLES[id]} if id in TITLES else None


schema = make_federated_schema(
    """
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])
    type Query {
      books: [Book!]!
      language: String
    }
    type Book @key(fields: "id") {
      id: ID!
      title: String!
    }
    """,
    [query, book],
)
app = GraphQL(schema)
