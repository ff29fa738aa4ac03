// The versions that are published beside this one: a list in the sidebar, and a line above what is not the newest.
// Where there is no versions.json, as on a disk, neither is shown.
document.addEventListener("DOMContentLoaded", async () => {
  if (!location.protocol.startsWith("http")) return;
  const published = new URL(document.documentElement.dataset.content_root + "../", location.href);
  const answer = await fetch(new URL("versions.json", published)).catch(() => null);
  if (!answer?.ok) return;
  const { newest, versions } = await answer.json();
  const here = DOCUMENTATION_OPTIONS.VERSION;
  const add = (parent, name, properties) =>
    parent.appendChild(Object.assign(document.createElement(name), properties));
  const link = (parent, version, textContent) =>
    add(parent, "a", { href: new URL(`${version}/docs/index.html`, published), textContent });

  const list = Object.assign(document.createElement("nav"), { className: "versions" });
  list.setAttribute("aria-label", "Versions");
  const details = add(list, "details", {});
  add(details, "summary", { textContent: "Other versions" });
  const items = add(details, "ul", {});
  for (const version of versions) {
    const entry = link(add(items, "li", {}), version, version === newest ? `${version} (newest)` : version);
    if (version === here) entry.setAttribute("aria-current", "true");
  }
  document.querySelector(".sidebar-brand")?.after(list);

  if (here !== newest && versions.includes(newest)) {
    const note = Object.assign(document.createElement("p"), { className: "older", textContent: `This page is of version ${here}. ` });
    link(note, newest, `The newest is ${newest}.`);
    document.querySelector("article")?.prepend(note);
  }
});
