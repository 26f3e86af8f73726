"""Serves one of the twins by uvicorn, as `uvicorn app:app` would."""

import argparse
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.fastapi import GraphQLRouter

from bench.twins import stocks, users, wallet
from bench.twins.identity import Context, Contexts

SCHEMAS = {"users": users.schema, "wallet": wallet.schema, "stocks": stocks.schema}


def main() -> None:
    """Until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m bench.twins")
    parser.add_argument("name", choices=SCHEMAS)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--keys", type=Path, required=True, help="the JSON Web Keys that verify users' tokens")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    contexts = Contexts(options.database, options.keys)

    async def context(
        session: Annotated[AsyncSession, Depends(contexts.session)],
        user_id: Annotated[str | None, Depends(contexts.user_id)],
    ) -> Context:
        return Context(session, user_id)

    graphql: GraphQLRouter[Context, None] = GraphQLRouter(SCHEMAS[options.name], context_getter=context)
    app = FastAPI()
    app.include_router(graphql, prefix="/graphql")
    uvicorn.run(app, port=options.port)


if __name__ == "__main__":
    main()
