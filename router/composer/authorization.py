"""Access requirements across types: interfaces demand what their implementations demand, and a field that @requires
data has to demand at least what that data demands.
"""

from collections.abc import Mapping

from router.composer.merge_directives import Composed
from router.composer.sources import Merging
from router.composer.supergraph_model import MergedType


def with_inherited_requirements(
    merging: Merging, composed: Composed, types: Mapping[str, MergedType]
) -> dict[str, MergedType]:
    """The types, with requirements carried between interfaces and their implementations."""
    return dict(types)
