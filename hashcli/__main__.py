"""Where the command line begins: before anything that takes time to import."""

# What `signal` is made of. Its enums take a while to import, in which Ctrl-C would show a traceback.
import _signal as signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_LATER = 0.002  # seconds
_MOST_DEFERRALS = 1000


class _Interrupt:
    """Ends the program on Ctrl-C, but not in the middle of an import.

    Compiled modules turn an exception at that time into others, with tracebacks that they print themselves. An import
    takes a fraction of a second; so the signal is looked at again a little later.
    """

    def __init__(self) -> None:
        self._deferrals = 0  # since Ctrl-C that has not ended the program yet

    @property
    def is_pending(self) -> bool:
        return self._deferrals > 0

    def __call__(self, _: int, frame: "FrameType | None") -> None:
        if self._deferrals < _MOST_DEFERRALS and hasattr(signal, "setitimer") and _is_importing(frame):
            self._deferrals += 1
            signal.setitimer(signal.ITIMER_REAL, _LATER)
            return
        self._deferrals = 0
        raise KeyboardInterrupt


def _is_importing(frame: "FrameType | None") -> bool:
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback, also while it is still being loaded."""
    interrupt = _Interrupt()
    try:
        # Not if it is ignored, as for a command that a shell runs in the background.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
            if hasattr(signal, "SIGALRM"):
                signal.signal(signal.SIGALRM, interrupt)
        from hashcli.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # Python's own end would show a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if interrupt.is_pending:  # the command was faster, and the signal would find no handler any more
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise SystemExit(130)


if __name__ == "__main__":
    main()
