"""Actions for rappel, durable workflows on PostgreSQL.

    from rappel import action

    @action
    def greet(input):
        return {"text": f"Hello, {input['name']}"}

`python -m rappel.worker MODULE` serves them, rappel.client starts workflows,
rappel.testing runs an action without any daemon.
"""

from rappel._context import LATER, Context, Later, current
from rappel._errors import ActionError, Cancelled
from rappel._registry import action
from rappel._version import VERSION as __version__

__all__ = ["LATER", "ActionError", "Cancelled", "Context", "Later", "action",
           "current", "__version__"]
