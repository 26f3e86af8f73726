"""Twins of the three subgraphs, written as one writes them first: Strawberry's types and `GraphQLRouter`, SQLAlchemy's
ORM, aiosqlite, FastAPI's dependencies. They tell what the Portfolio query asks for, out of the brokerage's databases.

    python -m bench.twins NAME --database FILE --keys FILE --port N

They are what the brokerage's own subgraphs are measured beside: nothing in them is slow on purpose, and nothing is
fast. Rules are theirs too: who asks is who a verified token names, and sees their own money and shares alone.
"""
