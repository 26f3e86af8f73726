"""Which text a database can hold: PostgreSQL none with the character U+0000.

What is stored is checked before (names, keys and the like are printable). An id or a filter is only compared, so the
database is the first to see what is wrong with it; the faces turn its error into a refusal here.
"""

from sqlalchemy.exc import DBAPIError

from subgraphs.shared.database import sqlstate_of
from subgraphs.shared.errors import INVALID_REQUEST, Refusal

_CHARACTER_NOT_IN_REPERTOIRE = "22021"


def text_refusal(error: Exception) -> Refusal | None:
    """The refusal of a request with a text that the database cannot hold; None for any other error."""
    if isinstance(error, DBAPIError) and sqlstate_of(error) == _CHARACTER_NOT_IN_REPERTOIRE:
        return Refusal(INVALID_REQUEST, "A text in the request contains the character U+0000. Leave it out.")
    return None
