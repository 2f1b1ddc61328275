"""The functions that an application gives its server: hooks on events, and those that are asked first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tuspy_server.access import Grant, Intent, RequestContext
from tuspy_server.events.blocking import BlockingHooks, Question
from tuspy_server.events.hooks import AnyHook, Hooks
from tuspy_server.model import Upload
from tuspy_server.ports import Creation, Proposal, StoredUpload

AnyPreCreate = TypeVar("AnyPreCreate", bound=Callable[[Proposal], Awaitable[Creation | None] | Creation | None])
AnyPreFinish = TypeVar("AnyPreFinish", bound=Callable[[StoredUpload], Awaitable[None] | None])
AnyPreTerminate = TypeVar("AnyPreTerminate", bound=Callable[[Upload, RequestContext], Awaitable[None] | None])
AnyAuthorize = TypeVar("AnyAuthorize", bound=Callable[[Intent, RequestContext], Awaitable[Grant | bool] | Grant | bool])


class Registration:
    """The decorators of `TusServer`."""

    def __init__(self, hook_seconds: float) -> None:
        """See the setting."""
        self._hooks = Hooks()
        self._blocking = BlockingHooks(hook_seconds)

    def on(self, *types: str, name: str | None = None, processing: bool = False) -> Callable[[AnyHook], AnyHook]:
        """Call a function on events, such as `@tus.on("upload.finished")`; without types on all.

        The function takes an `Event`; it may be `async def`, or plain, and then runs in a thread. It is called at least
        once for every event, after a crash too, with the same `event.id` each time; when it raises, it is called
        again, later and later. `name` is what deliveries are remembered by: set it if the function may be renamed.
        With `processing` a finished upload counts as processed only when the function has succeeded with it.

        Raises:
            ValueError: an unknown event type, or a second hook of the same name.
        """
        return self._hooks.on(*types, name=name, processing=processing)

    def pre_create(self, function: AnyPreCreate) -> AnyPreCreate:
        """Ask a function before an upload is made: `@tus.pre_create`, above a function of a `Proposal`.

        It is asked before anything is stored and before a byte of the body is read. It returns a `Creation` with what
        it wants of the upload, or None, or raises `Refused(text, status)`.

        This and the other three: one function each. It may be `async def`, or plain, and then runs in a thread. Where
        it raises anything but a `TusError`, or takes longer than `settings.hook_seconds`, the answer is 500, and
        nothing has changed.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.PRE_CREATE, function)
        return function

    def pre_finish(self, function: AnyPreFinish) -> AnyPreFinish:
        """Ask a function before an upload is finished: `@tus.pre_finish`, above a function of a `StoredUpload`.

        The whole of it is stored and can be read, and nobody has been told yet. Where the function raises `Refused`,
        the upload fails, its bytes go, and the client gets that answer. It may be asked again for the same upload:
        after an error of its own, after a crash, or by two servers at once.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.PRE_FINISH, function)
        return function

    def pre_terminate(self, function: AnyPreTerminate) -> AnyPreTerminate:
        """Ask a function before a client removes an upload: `@tus.pre_terminate`, above a function of an `Upload` and a
        `RequestContext`. It raises `Refused` where the upload is to stay. `terminate` asks nobody.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.PRE_TERMINATE, function)
        return function

    def authorize(self, function: AnyAuthorize) -> AnyAuthorize:
        """Ask a function what each request may reach: `@tus.authorize`, above a function of an `Intent` and a
        `RequestContext`.

        It returns a `Grant` (with the tenant whose uploads it may reach), True for all, or False: then the answer is
        403, or 404 where the request names an upload or a job. It is asked before anything is looked up and before a
        byte of a body is read, for every request but OPTIONS and those that carry `settings.api_token`.

        Raises:
            ValueError: there is one already.
        """
        self._blocking.register(Question.AUTHORIZE, function)
        return function
