// What the theme leaves out for keyboards, screen readers and small screens.
document.addEventListener("DOMContentLoaded", () => {
  const set = (selector, name, value) =>
    document.querySelectorAll(selector).forEach((element) => element.setAttribute(name, value));
  set(".caption[role=heading]", "aria-level", "2");
  set("pre, .table-wrapper, .cell_output", "tabindex", "0"); // what is wider than the page is scrolled by the arrow keys
  document.querySelectorAll("td").forEach((cell) => cell.classList.toggle("long", cell.textContent.length > 60));
  set(".content-icon-container", "role", "navigation");
  set(".content-icon-container", "aria-label", "This page");
  set(".sidebar-drawer", "aria-label", "All pages");
  set(".toc-drawer", "aria-label", "On this page");
});
