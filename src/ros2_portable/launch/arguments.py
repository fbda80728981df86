"""Constructor arguments that are worked out only when something is launched."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# An argument that is text, a substitution or several of both, to be joined.
Text = str | Path | Iterable[Any]
# An argument that is a boolean, or Text that reads as one by the rules of YAML.
Truth = bool | Text


class Arguments:
    """Makes a constructor from the parameters that a subclass gives to its main method.

    The main method is then called with the launch context alone and gets the other parameters
    from the constructor: those of type Text as text, of type Truth as booleans, others as given.
    """

    _method = ""
    texts: dict[str, Any] = {}  # noqa: RUF012 - the Text arguments, as lists of substitutions
    condition: Any = None

    @classmethod
    def from_function(cls, function: Callable[..., Any]) -> type:
        """Make a subclass whose main method is this function."""
        about = {"__doc__": function.__doc__, "__module__": function.__module__}
        return type(function.__name__, (cls,), {cls._method: function, **about})

    def __init_subclass__(cls, method: str = "") -> None:
        cls._method = method or cls._method
        function = None if method else cls.__dict__.get(cls._method)
        kinds = dict(list(inspect.signature(function).parameters.items())[2:]) if function else {}
        if not kinds:
            return  # A base, or a class with a constructor of its own.
        signature = inspect.Signature(list(kinds.values()))

        def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
            self.condition = None if "condition" in kinds else kwargs.pop("condition", None)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{cls.__name__}: {error} in ros2_portable") from None
            bound.apply_defaults()
            self.__dict__.update(bound.arguments)
            given = [key for key, value in bound.arguments.items() if value is not None]
            texts = [key for key in given if kinds[key].annotation is Text]
            self.texts = {key: normalize_to_list_of_substitutions(vars(self)[key]) for key in texts}

        def call(self: Any, context: Any) -> Any:
            values = {key: getattr(self, key) for key in kinds}
            for key, subs in self.texts.items():
                values[key] = perform_substitutions(context, subs)
            for key in (key for key, each in kinds.items() if each.annotation is Truth):
                if not isinstance(values[key], bool):
                    subs = normalize_to_list_of_substitutions(values[key])
                    values[key] = perform_typed_substitution(context, subs, bool)
            return function(self, context, **values)

        cls.__init__ = cls.__dict__.get("__init__", initialize)
        setattr(cls, cls._method, call)


from .utilities import (  # noqa: E402 - they need Substitution, which needs Arguments
    normalize_to_list_of_substitutions,
    perform_substitutions,
    perform_typed_substitution,
)
