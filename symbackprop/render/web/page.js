"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const sections = all(".detail");
  const roles = ["upstream", "slope", "incoming"];
  // The only thing that a formula may do to the page is to say which role a factor plays, or that it is a slip or a repair.
  const classes = [...roles, "slip", "mend"];
  const trust = (context) => context.command === "\\htmlClass" && classes.includes(context.class);

  function render(m, tex) {
    try {
      const macros = JSON.parse(m.closest("[data-macros]")?.dataset.macros ?? "{}"); // anew: a formula may change them
      const displayMode = m.classList.contains("d");
      katex.render(tex, m, { displayMode, macros, strict: "ignore", maxSize: 20, maxExpand: 500, trust });
      return true;
    } catch {
      return false;
    }
  }

  // What is folded away is set when it is unfolded; what cannot be set stays as its source.
  function set(within) {
    for (const m of all(".m:not(.done)", within)) {
      if (m.closest("details:not([open]) > :not(summary)")) continue;
      const source = m.textContent;
      if (!render(m, m.dataset.tex ?? source) && !render(m, source)) {
        m.textContent = source;
        m.classList.add("raw");
      }
      m.classList.add("done");
    }
  }

  // A formula too wide for its place goes over its reason; then it shrinks a little; then it scrolls.
  function fit(section) {
    const rows = all(".row", section).map((row) => [row, row.children[1], row.children[1].firstChild]);
    for (const [row, right, eq] of rows) {
      row.classList.remove("long", "scroll");
      right.removeAttribute("tabindex");
      eq.style.fontSize = "";
    }
    const wide = () => rows.filter(([, right, eq]) => eq.offsetWidth > right.clientWidth + 1);
    const whole = ([, right, eq]) => eq.offsetWidth + (right.querySelector(".cond")?.offsetWidth ?? -24) + 24;
    for (const [row] of rows.filter((r) => whole(r) > r[1].clientWidth + 1)) row.classList.add("long");
    const ratios = wide().map(([row, right, eq]) => [row, right, eq, right.clientWidth / eq.offsetWidth]);
    for (const [row, right, eq, ratio] of ratios) {
      eq.style.fontSize = `${Math.max(0.8, ratio * 0.985)}em`;
      if (ratio < 0.8) {
        row.classList.add("scroll");
        right.tabIndex = 0;
      }
    }
  }

  function current() {
    return sections.find((s) => !s.hidden);
  }

  function show(name) {
    const section = sections.find((s) => s.id === name);
    if (!section) return false;
    for (const s of sections) s.hidden = s !== section;
    const radio = document.getElementById(`show-${name}`);
    if (radio) radio.checked = true;
    set(section);
    fit(section);
    return true;
  }

  function follow() {
    const id = decodeURIComponent(location.hash.slice(1));
    const fold = document.getElementById(id)?.closest("details:not([open])");
    if (fold) {
      fold.open = true;
      document.getElementById(id).scrollIntoView();
    }
    const hidden = sections.find((s) => s.hidden && (s.id === id || id.startsWith(`${s.id}-`)));
    if (!hidden) return;
    show(hidden.id);
    if (id !== hidden.id) document.getElementById(id)?.scrollIntoView();
  }

  // ---- factors and the picture

  let hot = null;
  function heat(factor) {
    const row = factor?.closest(".row");
    const role = factor && roles.find((r) => factor.classList.contains(r));
    if (hot?.row === row && hot?.role === role) return;
    if (hot) {
      hot.row.removeAttribute("data-over");
      for (const part of all(`.network .hot-${hot.role}`)) part.classList.remove(`hot-${hot.role}`);
    }
    hot = row && role ? { row, role } : null;
    if (!hot) return;
    row.dataset.over = role;
    for (const token of (row.dataset[role] || "").split(" ").filter(Boolean))
      for (const part of document.getElementsByClassName(token)) part.classList.add(`hot-${role}`);
  }
  const factorAt = (target) => target.closest?.(".row :is(.upstream, .slope, .incoming)");

  // ---- the line behind a reference

  let peek = null;
  function look(link) {
    peek?.remove();
    peek = null;
    const row = link && document.getElementById(link.hash.slice(1));
    if (!row) return;
    let first = row;
    while (first.classList.contains("more") && first.previousElementSibling) first = first.previousElementSibling;
    peek = document.createElement("div");
    peek.className = "peek";
    peek.link = link;
    peek.setAttribute("aria-hidden", "true");
    peek.append(first.children[0].cloneNode(true), row.children[1].cloneNode(true));
    document.body.append(peek);
    const at = link.getBoundingClientRect();
    const box = peek.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left + at.width / 2 - box.width / 2, root.clientWidth - box.width - 8));
    const top = at.top > box.height + 16 ? at.top - box.height - 8 : at.bottom + 8;
    peek.style.left = `${left + scrollX}px`;
    peek.style.top = `${top + scrollY}px`;
  }

  document.addEventListener("pointerover", (e) => {
    heat(factorAt(e.target));
    const link = e.target.closest?.("a.ref");
    if ((link ?? null) !== (peek?.link ?? null)) look(link);
  });
  document.addEventListener("focusin", (e) => look(e.target.closest("a.ref")));
  document.addEventListener("focusout", () => look(null));
  document.addEventListener("keydown", (e) => e.key === "Escape" && look(null));
  document.addEventListener("pointerdown", () => look(null));
  for (const radio of all(".switch input"))
    radio.addEventListener("change", () => {
      show(radio.value);
      history.replaceState(null, "", `#${radio.value}`);
    });
  for (const fold of all("details"))
    fold.addEventListener("toggle", () => {
      set(fold);
      if (current()) fit(current());
    });
  addEventListener("hashchange", follow);
  let queued = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(queued);
    queued = requestAnimationFrame(() => current() && fit(current()));
  });

  try {
    set(document.querySelector("header"));
    for (const part of all(".network, .symbols[open]")) set(part);
    const section = current();
    if (section) set(section);
  } finally {
    // The fonts come with the page: wait for them, so that nothing moves once it is seen.
    const reveal = () => {
      if (root.classList.contains("ready")) return;
      if (current()) fit(current());
      root.classList.add("ready");
      follow();
    };
    if (current()) fit(current());
    setTimeout(reveal, 400);
    document.fonts?.ready.then(reveal, reveal);
  }
})();
