"""What goes wrong with logs beyond the errors of all of mlkit."""

from mlkit.errors import MlkitError


class Fenced(MlkitError):
    """A commit of a member whose partition another member has got."""

    exit_code = 69
