"""What a launch description may give wherever text is expected."""

from collections.abc import Iterable

from .arguments import Text as SomeSubstitutionsType  # noqa: F401
from .substitution import Substitution

SomeSubstitutionsType_types_tuple = (str, Substitution, Iterable)
