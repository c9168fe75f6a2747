"""Every error this package raises: what happened, and what to do now.

    RlmError
    ├── SettingsInvalid         a setting has a value that cannot work
    │   └── AuthMissing         others could reach the server, and it asks nobody who they are
    ├── ArgumentInvalid         a tool or library argument cannot work
    ├── ContextError
    │   ├── SourceForbidden     it lies outside the folders that may be loaded
    │   ├── SourceTooLarge      it is more than may be loaded at once
    │   ├── SourceMissing       nothing stands at the path
    │   ├── SourceUnreadable    it is there and cannot be read
    │   ├── SourceEmpty         it was read and holds no text
    │   ├── UnknownContext      no context of that id or name
    │   └── StoreFailed         the data folder cannot take the snapshot
    ├── EndpointError           carries `url`, `retry_after_s`, `usage`
    │   ├── EndpointUnreachable nothing listens, or the line broke
    │   ├── EndpointRefused     401, 403 or a request it will never take
    │   ├── EndpointBusy        429, 503: loading, queue full
    │   ├── EndpointFailed      a server error, or a broken reply
    │   ├── ModelUnknown        the endpoint has no such model
    │   ├── ModelUnusable       RLM_MODEL_PATH names nothing that can run here
    │   ├── PromptTooLong       carries `prompt_tokens`, `window_tokens`
    │   ├── ReplyEmpty          the model spent its tokens without an answer
    │   └── NotTheProtocol      something else speaks at that URL
    ├── ReplError
    │   ├── SandboxUnavailable  the box cannot enforce what it promises
    │   └── ReplUnavailable     no guest could be started, or no such handle
    ├── SessionError
    │   ├── NoSession           no handle given and none implied
    │   ├── UnknownSession      never minted, or expired
    │   ├── TooManySessions     the cap is reached
    │   ├── QuotaReached        a user of a shared server has had its share
    │   └── StaleEpoch          a newer incarnation owns this session
    ├── RunError
    │   ├── UnknownRun          no such run in the journal
    │   ├── RunInterrupted      the process that ran it has ended
    │   ├── RunElsewhere        another process works on it, or has its session
    │   ├── RunBroken           a fault of ours ended it
    │   └── JournalFailed       the journal cannot be written or read
    └── ClientError
        ├── ClientUnknown       no client of that name
        ├── ConfigUnreadable    its file is not what the client could read
        ├── ConfigUnwritable    its file cannot be written, or changed meanwhile
        ├── EntryTaken          its entry of that name starts something else
        ├── ServerMissing       the command of an entry cannot be started
        ├── ServerEnded         it ended before it had answered
        ├── ServerSilent        it did not answer in time
        └── NotAnMcpServer      what it answers is not MCP

A spent budget and an exception in model-written code are values, not errors.
"""

from rlm_mcp.types import Usage


class RlmError(Exception):
    """Root of the tree: `message` says what happened, `hint` what to do now."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}"


class SettingsInvalid(RlmError):
    """A setting has a value that cannot work."""


class AuthMissing(SettingsInvalid):
    """Other machines could reach the server, and it asks nobody who they are."""


class ArgumentInvalid(RlmError):
    """A tool or library argument cannot work."""


class ContextError(RlmError):
    """Loading or finding text failed."""


class SourceForbidden(ContextError):
    """It lies outside the folders that may be loaded."""


class SourceTooLarge(ContextError):
    """It is more than may be loaded at once."""


class SourceMissing(ContextError):
    """Nothing stands at the path."""


class SourceUnreadable(ContextError):
    """It is there and cannot be read."""


class SourceEmpty(ContextError):
    """It was read and holds no text."""


class UnknownContext(ContextError):
    """No context of that id or name."""


class StoreFailed(ContextError):
    """The data folder cannot take the snapshot."""


class EndpointError(RlmError):
    """A model endpoint did not answer as asked.

    `usage` is what the failed call is known to have cost, None where nothing is known.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        url: str | None = None,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.url = url
        self.retry_after_s = retry_after_s
        self.usage = usage


class EndpointUnreachable(EndpointError):
    """Nothing listens there, or the line broke before a reply."""

    retryable = True


class EndpointRefused(EndpointError):
    """The endpoint understood and said no."""


class EndpointBusy(EndpointError):
    """The endpoint is loading a model or has a full queue."""

    retryable = True


class EndpointFailed(EndpointError):
    """A server error, or a reply that broke off."""

    retryable = True


class ModelUnknown(EndpointError):
    """The endpoint has no model of that name."""


class ModelUnusable(EndpointError):
    """The model file of RLM_MODEL_PATH is not there, is none, or cannot run on this machine."""


class PromptTooLong(EndpointError):
    """The prompt does not fit the model's window; both sizes in tokens, None where not told."""

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        url: str | None = None,
        prompt_tokens: int | None = None,
        window_tokens: int | None = None,
    ) -> None:
        super().__init__(message, hint, url=url)
        self.prompt_tokens = prompt_tokens
        self.window_tokens = window_tokens


class ReplyEmpty(EndpointError):
    """The model used its tokens up without saying anything outside its thinking."""


class NotTheProtocol(EndpointError):
    """Whatever answers at that URL does not speak the OpenAI chat protocol."""


class ReplError(RlmError):
    """The REPL could not do its part."""


class SandboxUnavailable(ReplError):
    """The box cannot enforce what it promises on this machine."""


class ReplUnavailable(ReplError):
    """No guest could be started, or no REPL has that handle."""


class SessionError(RlmError):
    """The session cannot be used."""


class NoSession(SessionError):
    """No handle was given and none is implied by the transport."""


class UnknownSession(SessionError):
    """The handle was never minted here, or its session expired."""


class TooManySessions(SessionError):
    """As many sessions are open as this server may hold."""


class QuotaReached(SessionError):
    """A user of a shared server has as many sessions, runs, bytes or money as it may."""


class StaleEpoch(SessionError):
    """A newer incarnation owns this session; what this one would write is refused."""


class RunError(RlmError):
    """A run cannot be found or recorded."""


class UnknownRun(RunError):
    """The journal has no run of that id."""


class RunInterrupted(RunError):
    """The process that ran it ended before the run did."""


class RunElsewhere(RunError):
    """Another process works on it, or has its session."""


class RunBroken(RunError):
    """A fault of this program ended the run."""


class JournalFailed(RunError):
    """The journal cannot be written or read."""


class ClientError(RlmError):
    """An MCP client cannot be set up, or what it is set up with does not work."""


class ClientUnknown(ClientError):
    """No client of that name is known."""


class ConfigUnreadable(ClientError):
    """A client's file is not what the client could read; the message says where."""


class ConfigUnwritable(ClientError):
    """A client's file cannot be written, or somebody else has written it meanwhile."""


class EntryTaken(ClientError):
    """A client's entry of that name starts something else."""


class ServerMissing(ClientError):
    """The command that a client is to start does not exist or may not be run."""


class ServerEnded(ClientError):
    """The server ended before it had answered."""


class ServerSilent(ClientError):
    """The server did not answer in time."""


class NotAnMcpServer(ClientError):
    """What the command says is not MCP."""
