"""Books in Django with Strawberry, one file with a database in memory: uvicorn books:app --port 4001"""

import secrets
from typing import Optional

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_urlsafe(),
    INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:books?mode=memory&cache=shared"},
    },
)
django.setup()

import strawberry  # noqa: E402  # models and types need the settings
import strawberry_django  # noqa: E402  # models and types need the settings
from django.core.asgi import get_asgi_application  # noqa: E402  # models and types need the settings
from django.db import connection, models  # noqa: E402  # models and types need the settings
from django.urls import path  # noqa: E402  # models and types need the settings
from strawberry.django.views import AsyncGraphQLView  # noqa: E402  # models and types need the settings


class BookRow(models.Model):
    id = models.CharField(primary_key=True, max_length=20)
    title = models.CharField(max_length=200)

    class Meta:
        app_label = "books"


with connection.schema_editor() as editor:
    editor.create_model(BookRow)
for id, title in {"1": "Erewhon", "2": "Flatland"}.items():
    BookRow.objects.create(id=id, title=title)


@strawberry_django.federation.type(BookRow, name="Book", keys=["id"])
class Book:
    id: strawberry.ID
    title: strawberry.auto

    @classmethod
    async def resolve_reference(cls, id: strawberry.ID) -> Optional["Book"]:
        return await BookRow.objects.filter(id=id).afirst()


@strawberry.type
class Query:
    books: list[Book] = strawberry_django.field()

    @strawberry.field
    def language(self, info: strawberry.Info) -> str | None:
        return info.context.request.headers.get("accept-language")


schema = strawberry.federation.Schema(query=Query)
urlpatterns = [path("", AsyncGraphQLView.as_view(schema=schema))]
app = get_asgi_application()
