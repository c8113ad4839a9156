"""The live page: runs under way, as a browser shows them, and the few actions that a person takes there."""

from sender.web.web_server import WebOptions, WebPage, open_web, serve

__all__ = ["WebOptions", "WebPage", "open_web", "serve"]
