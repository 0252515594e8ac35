"""Show a helper's source inside a notebook."""

import inspect

from IPython.display import Markdown, display


def show_source(*objects):
    """Display the source of functions or classes as highlighted code: lesson and helper cannot drift apart."""
    code = "\n\n".join(inspect.getsource(each).rstrip() for each in objects)
    display(Markdown(f"```python\n{code}\n```"))
