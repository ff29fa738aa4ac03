"""What widgets of Panel leave out for keyboards and screen readers."""

from typing import Any

import panel as pn

SWEEP_MS = 500  # between looks for widgets that are new: they lie in roots of their own, which announce nothing
# Names of what has none, and roles that fit: of the page's title and main part, the slider handles, the inputs of
# choices, the table, the player, the button that copies lines of Python.
SCRIPT = """
const set = (root, selector, attributes) => root.querySelectorAll(selector).forEach((element) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) element.removeAttribute(name)
    else if (element.getAttribute(name) !== value) element.setAttribute(name, value)
  }
})
const name_of = (root) => (root.querySelector(".bk-slider-title") || root.querySelector("label"))?.textContent
  .split(/: |:$/)[0].trim() || ""
const mend = (root) => {
  set(root, "#main", {role: "main"})
  set(root, ".app-header", {role: "heading", "aria-level": "1"})
  set(root, "h3", {"aria-level": "2"})
  set(root, "#theme-switch", {"aria-label": "Light theme"})
  const label = name_of(root), is_range = root.querySelectorAll(".noUi-handle").length > 1
  set(root, ".noUi-handle-lower", {"aria-label": is_range ? `${label}, least` : label})
  set(root, ".noUi-handle-upper", {"aria-label": `${label}, most`})
  set(root, ".choices__item[data-item]", {"aria-selected": null})
  set(root, "input.choices__input", {role: null, "aria-label": label})
  set(root, ".tabulator", {"aria-label": "Units", "aria-owns": null})
  set(root, ".tabulator-tableholder", {role: "rowgroup"})
  set(root, ".tabulator-table", {role: "none"})
  set(root, ".copybtn", {"aria-label": "Copy"})
  set(root, ".bk-spin-btn-up", {"aria-label": `${label}, one more`})
  set(root, ".bk-spin-btn-down", {"aria-label": `${label}, one less`})
  if (root.querySelector("button.play")) {
    for (const name of ["previous", "pause", "play", "next"]) set(root, `button.${name}`, {"aria-label": name})
    set(root, "input[type=range]", {"aria-label": "Frame"})
  }
  root.querySelectorAll("*").forEach((element) => element.shadowRoot && mend(element.shadowRoot))
}
setInterval(() => mend(document), SWEEP_MS)
""".replace("SWEEP_MS", str(SWEEP_MS))
# What is on a tab that is not shown is not reached by the Tab key either, and takes no room.
TABS = '[aria-hidden="true"] { display: none !important; }'
# The colour of one kind of words is too near to the ground's. Long lines go on below.
CODE = ".codehilite .k { color: inherit; } .codehilite pre { white-space: pre-wrap; overflow-wrap: anywhere; }"
# What is written into a choice is black in the dark theme, too.
CHOICE = ".choices__input { color: var(--panel-on-background-color, inherit); }"


def script() -> Any:
    """To be put anywhere on a page."""
    return pn.pane.HTML(f"<script>(() => {{{SCRIPT}}})()</script>", width=0, height=0, margin=0)


def code_pane() -> Any:
    """For lines of Python, as ``fnn_jax.explorer.markdown.fenced`` returns them."""
    return pn.pane.Markdown(stylesheets=[CODE], sizing_mode="stretch_width", min_width=0)
