"""What the two faces are given: the use cases of users."""

from dataclasses import dataclass

from subgraphs.users.saga import AuthorizationSaga
from subgraphs.users.service_authorizations import AuthorizationsService
from subgraphs.users.service_users import UsersService


@dataclass(frozen=True, slots=True)
class UseCases:
    """Accounts; authorizations as they stand; and what changes them together with wallet or stocks."""

    accounts: UsersService
    authorizations: AuthorizationsService
    saga: AuthorizationSaga
