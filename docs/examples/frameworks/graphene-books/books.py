"""Books in Graphene with graphene-federation, behind a Starlette route: uvicorn books:app --port 4001"""

import graphene
from graphene_federation import build_schema, key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

TITLES = {"1": "Erewhon", "2": "Flatland"}


@key("id")
class Book(graphene.ObjectType):
    id = graphene.ID(required=True)
    title = graphene.String(required=True)

    def __resolve_reference(self, info):  # of this name: graphene-federation looks for it
        return Book(id=self.id, title=TITLES[self.id]) if self.id in TITLES else None


class Query(graphene.ObjectType):
    books = graphene.List(graphene.NonNull(Book), required=True)
    language = graphene.String()

    def resolve_books(self, info):
        return [Book(id=id, title=title) for id, title in TITLES.items()]

    def resolve_language(self, info):
        return info.context["request"].headers.get("accept-language")


schema = build_schema(query=Query)


async def graphql(request: Request) -> JSONResponse:
    body = await request.json()
    result = await schema.execute_async(
        body["query"],
        variables=body.get("variables"),
        operation_name=body.get("operationName"),
        context={"request": request},
    )
    return JSONResponse(result.formatted)


app = Starlette(routes=[Route("/", graphql, methods=["POST"])])
