"""The seam for everything that is not federation: Python objects whose hooks run around requests and fetches.

    on_start                                                                 on_stop
       on_request -> on_operation -> on_fetch (around each fetch) -> on_response

`Plugin` is what a plug-in is made from, the contexts are what its hooks are handed, `Hooks` runs them for the engine,
and `load_plugins` makes those that `router.yaml` names. What is built in uses nothing that a user's own cannot.
"""

from trifolio.plugins.contexts import FetchContext, OperationContext, RequestContext, ResponseContext
from trifolio.plugins.hooks import Hooks
from trifolio.plugins.loading import load_plugins
from trifolio.plugins.plugin import Plugin, SendFetch

__all__ = [
    "FetchContext",
    "Hooks",
    "OperationContext",
    "Plugin",
    "RequestContext",
    "ResponseContext",
    "SendFetch",
    "load_plugins",
]
