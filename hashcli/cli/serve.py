"""hashcli serve: a page that searches, on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashcli.cli.console import UsageError, say, stop_with
from hashcli.cli.options import complete_index_name, index_location

if TYPE_CHECKING:
    from hashcli.index.locations import IndexLocation
    from hashcli.serve.security import Access

EXAMPLES = """Examples:\n
hashcli serve --open\n
hashcli serve --name family --name work\n
hashcli serve --listen 0.0.0.0         for others too; prints a link with a token\n
curl 'http://127.0.0.1:8765/api/search?text=dog+on+a+beach&k=5'"""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


# Long because typer reads the options from the signature.
def run(
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            metavar="FOLDER",
            show_default="as hashcli search finds it",
            help="The folder of an index. Can be repeated.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", autocompletion=complete_index_name, help="A named index. Can be repeated."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8765,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    listen: Annotated[
        str,
        typer.Option(
            help="The address to listen at. At any but 127.0.0.1, ::1 or localhost, clients need a password or token."
        ),
    ] = "127.0.0.1",
    password: Annotated[
        str | None,
        typer.Option(
            envvar="HASHCLI_PASSWORD",
            show_default="with --listen, a token in the printed link",
            help="What the browser has to be told, with any user name.",
        ),
    ] = None,
) -> None:
    """Search in the browser: a page, and JSON for other programs, on this machine alone.

    The model is loaded once, so that results appear while you type. Needs the extra `serve`.
    """
    from hashcli.cli.remedies import with_remedies
    from hashcli.errors import HashcliError, how_to_install
    from hashcli.index.search import Index

    locations = [index_location(folder, None) for folder in index or ()]
    locations += [index_location(None, one) for one in name or ()]
    locations = locations or [index_location(None, None)]
    for location in locations:
        with with_remedies(location), Index(location.folder) as opened:
            opened.load_model()
    try:
        from hashcli.serve.app import ServerOptions
        from hashcli.serve.run import bound_socket, serve
        from hashcli.serve.terminal_client import socket_folder
    except ImportError as error:
        raise HashcliError("The page that searches needs an extra.", how_to_install("serve")) from error
    from platformdirs import user_cache_path

    access = _access(listen, password)
    listening = bound_socket("127.0.0.1" if listen == "localhost" else listen, port)
    link = _link(listen, listening.getsockname()[1], access.token)
    thumbnails = user_cache_path("hashcli") / "thumbnails"
    options = ServerOptions(_by_name(locations), access, thumbnails, socket_folder())

    def started() -> None:
        print(link, flush=True)
        if listen not in _LOOPBACK:
            say("Others can reach it too. What is sent is not encrypted: only use it in a network that you trust.")
        say("Ctrl-C ends it.")
        if open_:
            _open(link)

    serve(options, listening, started)


def _access(listen: str, password: str | None) -> "Access":
    """Who may ask: without a password, everybody here, or whoever has the token in the link."""
    import secrets

    from hashcli.serve.security import Access

    if password is not None and len(password) < 8:
        stop_with("The password has fewer than 8 characters.", "Choose a longer one, or leave it out.", status=2)
    if password is not None:
        return Access(password=password)
    return Access() if listen in _LOOPBACK else Access(token=secrets.token_urlsafe(24))


def _link(listen: str, port: int, token: str | None) -> str:
    import socket

    host = socket.gethostname() if listen in ("0.0.0.0", "::") else listen
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


def _by_name(locations: "list[IndexLocation]") -> dict[str, Path]:
    """The folders by the names that the page shows: those of named indexes, or else of the folders they are in."""
    found: dict[str, Path] = {}
    for location in locations:
        if location.folder in found.values():
            raise UsageError(f"The index in {location.folder} is given twice.", "Give each index once.")
        folder = location.folder.parent if location.folder.name == ".hashcli" else location.folder
        own = location.name or folder.name
        number = 1
        while (shown := own if number == 1 else f"{own} ({number})") in found:
            number += 1
        found[shown] = location.folder
    return found


def _open(link: str) -> None:
    import threading
    import webbrowser

    # In a thread: some browsers run in the terminal, and answers must be sent meanwhile.
    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
