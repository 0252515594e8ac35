"""A widget ends with its cell's run: ipywidgets keeps it until it is closed, and IPython whatever a cell has shown."""

import sys
import weakref
from typing import Any

from IPython import get_ipython

# widget -> the cell that made it; None as long as that cell runs
_made: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def close_on_rerun(widget: Any) -> None:
    """Close `widget` once the cell that runs now has run again and has made another: its place on the screen is gone.

    Nothing else is closed: not what the same run made, nor what another cell did. A cell is known by the id that the
    front end gives it; where none is given, as in a console, by its text.
    """
    if shell := get_ipython():
        _made[widget] = None
        shell.events.register("post_run_cell", _cell_ended)  # once, however often it is registered


def _cell_ended(result):
    new = [widget for widget, cell in list(_made.items()) if cell is None]
    if not new:
        return
    cell = _identity(result.info)
    for widget in [old for old, its in list(_made.items()) if its == cell]:
        widget.close()
    for widget in new:
        _made[widget] = cell


def _identity(info):
    if info.cell_id:
        return info.cell_id
    # Voila gives no ids, keeps no history, and runs every cell once: two cells of the same text are two there.
    once = not info.store_history and hasattr(get_ipython(), "kernel")
    return object() if once else info.raw_cell


def forget(thing: Any) -> None:
    """Take `thing` out of what IPython keeps of what cells have shown: Out, _, __, ___, _12 and the last result."""
    if sys.is_finalizing() or not (shell := get_ipython()):
        return
    for names in (*shell.all_ns_refs, shell.history_manager.output_hist):
        for name in [name for name, value in list(names.items()) if value is thing]:
            if isinstance(name, int) or not name.strip("_0123456789"):  # the user's own names stay
                del names[name]
    for name in ("_", "__", "___"):
        if getattr(shell.displayhook, name) is thing:
            setattr(shell.displayhook, name, None)
    if shell.last_execution_result and shell.last_execution_result.result is thing:
        shell.last_execution_result = None
