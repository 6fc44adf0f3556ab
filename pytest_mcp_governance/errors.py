"""The error tree: one root, fields beside the text. Imports nothing; chooses no exit code.

Every message says what was seen, what was expected and what to do next.
"""


class GovernanceError(Exception):
    """Root of every error this package raises on purpose."""


class ConfigurationError(GovernanceError):
    """A setting, marker, option or server definition that cannot be used as written."""


class PolicyError(GovernanceError):
    """A policy that cannot be read.

    Args:
        message: what was seen and what was expected.
        file: name of the policy file.
        line: 1-based line, or 0 where no line is known.
        column: 1-based column, or 0 where none is known.
        hint: what to do next, one sentence.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0, hint: str = "") -> None:
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.hint = hint
        place = ":".join([file, *(str(n) for n in (line, column) if n)]) if file else ""
        text = f"{place}: {message}" if place else message
        super().__init__(f"{text}\n  {hint}" if hint else text)


class EvidenceError(GovernanceError):
    """Evidence that cannot be written or read."""


class KeyFileError(EvidenceError):
    """A signing or trust key that cannot be loaded; the message never shows key material."""


class LedgerWriteError(EvidenceError):
    """A ledger record could not be stored; nothing is forwarded after this."""


class RecorderError(GovernanceError):
    """The recorder process could not start, died, or refused a request."""


class ServerError(GovernanceError):
    """An MCP server could not be started or ended before it answered."""


class CaptureError(GovernanceError):
    """A screen could not be captured, or no browser could be started."""


class SetupError(GovernanceError):
    """A set-up step that cannot work on this machine: names the step, the cause and the remedy."""


class FindingsError(GovernanceError, AssertionError):
    """The policy found something; the text lists each finding. An AssertionError, so pytest says FAILED."""
