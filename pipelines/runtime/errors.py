"""Errors that a user can cause and mend: one clear line on the terminal, exit code 2, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Says what is wrong, where, and what to do about it, in one line."""


class StageFailed(Exception):
    """A stage broke off for a reason that is not the user's input; the message says what is kept."""
