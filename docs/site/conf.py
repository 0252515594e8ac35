"""How Sphinx makes the site: from committed outputs, with nothing that a page would fetch over a network."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Creating New Numbers"
extensions = ["myst_nb"]
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = html_show_sourcelink = False
html_show_copyright = html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": True,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "footer_content_items": [],
}
html_context = {"default_mode": "auto"}
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # the widgets are pages of their own
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "misc.highlighting_failure"]  # mermaid stays text


def math(display):
    """Return the two visitors of a formula: browsers draw MathML themselves, so no script is needed."""

    def visit(translator, node):
        formula = convert(node.astext(), display=display)
        translator.body.append(f'<div class="formula">{formula}</div>' if display == "block" else formula)
        raise SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer("mathml", math("inline"), math("block"))


html_math_renderer = "mathml"
