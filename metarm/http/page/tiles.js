// Parts of several sections: numbers as tiles, tables that change, notices.

// A tile: [id, label, value, kind]; `value` may be a text.
function tile([id, label, value, kind]) {
  const content = isNumber(value) ? h("data", { value, "data-figure": id }, format(value, kind)) : (value ?? NO_VALUE);
  return h("div", {}, h("dt", {}, label), h("dd", {}, content));
}

const shownIn = new WeakMap();

// Puts what `make` returns in place of what `parent` holds, if `content`, which it is made from, has changed. Keyboard and scrolling stay
// where they were: at the element with the same `data-keep`.
function replaceIfChanged(parent, content, make) {
  const text = JSON.stringify(content);
  if (shownIn.get(parent) === text) return;
  shownIn.set(parent, text);
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.keep : undefined;
  const kept = [...parent.querySelectorAll("[data-keep]")].map((element) => [element.dataset.keep, element.scrollLeft, element.scrollTop]);
  parent.replaceChildren(...[make()].flat());
  for (const [name, left, top] of kept) {
    const element = parent.querySelector(`[data-keep="${CSS.escape(name)}"]`);
    element?.scrollTo({ left, top, behavior: "instant" });
    if (name === focused) element?.focus({ preventScroll: true });
  }
}

const notice = (...children) => h("p", { class: "notice" }, children);

// A table that scrolls within itself, and keeps the keyboard when it is made anew.
function liveTable(label, head, rows, attributes) {
  const table = tableOf(label, head, rows, attributes);
  table.dataset.keep = label;
  return table;
}
