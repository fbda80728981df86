"""Constructor arguments that are worked out only when something is launched."""

import inspect
from collections.abc import Iterable
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

    def __init_subclass__(cls, method: str | None = None) -> None:
        cls._method = method or cls._method
        function = None if method else cls.__dict__.get(cls._method)
        parameters = list(inspect.signature(function).parameters.values())[2:] if function else []
        if not parameters:
            return  # A base, or a class with a constructor of its own.
        signature = inspect.Signature(parameters)

        def initialize(self: Any, *args: Any, condition: Any = None, **kwargs: Any) -> None:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{cls.__name__}: {error} in ros2_portable") from None
            bound.apply_defaults()
            self.__dict__.update(bound.arguments, condition=condition, texts={})
            for name, value in bound.arguments.items():
                if signature.parameters[name].annotation is Text and value is not None:
                    self.texts[name] = normalize_to_list_of_substitutions(value)

        def call(self: Any, context: Any) -> Any:
            values = {each.name: getattr(self, each.name) for each in parameters}
            for each in parameters:
                if each.name in self.texts:
                    values[each.name] = perform_substitutions(context, self.texts[each.name])
                elif each.annotation is Truth:
                    value = perform_typed_substitution(context, values[each.name], bool)
                    values[each.name] = value
            return function(self, context, **values)

        cls.__init__ = cls.__dict__.get("__init__", initialize)
        setattr(cls, cls._method, call)


from .utilities import (  # noqa: E402 - they need Substitution, which needs Arguments
    normalize_to_list_of_substitutions,
    perform_substitutions,
    perform_typed_substitution,
)
