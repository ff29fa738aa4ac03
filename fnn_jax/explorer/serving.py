"""The explorer's server: on this machine only, behind an address that nobody guesses, without any other network."""

import secrets
import webbrowser
from collections.abc import Callable
from typing import Any

LOOPBACK = "127.0.0.1"
GONE = (
    "The explorer was stopped, or its computer is busy: what you see no longer changes. Start it again: fnn-jax explore"
)


def make_server(page: Callable[[], Any], port: int = 0, token: str | None = None) -> tuple[Any, str]:
    """A server that is not started, and the address of the page.

    Only who knows the token in the address gets the page or its data; everything else is not found. Scripts and styles
    come from this server, too.

    Args:
        page: makes what is shown, for each visit.
        port: 0: a free one.
        token: by default a random one.

    Raises:
        OSError: the port is taken.
    """
    import panel
    from panel.theme.fast import Fast

    Fast._resources["font"] = {}  # it would come from another server
    panel.extension("tabulator", "filedropper", notifications=True, disconnect_notification=GONE)
    token = token or secrets.token_urlsafe(16).replace("-", "x")
    server = panel.io.server.get_server(
        {token: page},
        port=port,
        address=LOOPBACK,
        start=False,
        show=False,
        verbose=False,
        use_index=False,
        redirect_root=False,
    )
    # Bokeh lets pages of localhost:PORT connect, and no others; the same computer by its number is none of them.
    return server, f"http://localhost:{server.port}/{token}"


def serve(page: Callable[[], Any], port: int = 0, browser: bool = True) -> None:
    """Serve until interrupted; says the address, and opens it where ``browser`` is True."""
    server, address = make_server(page, port)
    print(
        f"The explorer is at {address}\nOnly this computer reaches it, and only with this address. Ctrl-C ends it.",
        flush=True,
    )
    server.start()
    if browser:
        server.io_loop.call_later(0.1, webbrowser.open, address)
    server.io_loop.start()
    server.stop()
