// Questions to the reader: whether to do something, and the key.

function openDialog(title, parts, buttons) {
  const dialog = h("dialog", { "aria-label": title }, h("h2", {}, title), parts, h("div", { class: "buttons" }, buttons));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Resolves to whether the reader wants it.
function confirmed(title, text, action) {
  return new Promise((resolve) => {
    const no = h("button", { type: "button", autofocus: true, click: () => dialog.close() }, "Cancel");
    const yes = h("button", { type: "button", class: "strong", click: () => dialog.close("yes") }, action);
    const dialog = openDialog(title, [h("p", {}, text)], [no, yes]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
  });
}

// Resolves to a key, or to null where none is given.
function askForKey(reason) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "key", name: "key", autocomplete: "off", spellcheck: "false", autofocus: true });
    const wrong = h("p", { role: "alert", class: "wrong" });
    const submit = (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (isKey(key)) return dialog.close(key);
      wrong.textContent = "A key has visible ASCII characters only, and at least one.";
      input.focus();
    };
    const form = h(
      "form",
      { id: "key-form", submit },
      h("p", {}, reason),
      h("label", { for: "key" }, "Key"),
      input,
      wrong,
      h("p", { class: "note" }, "It is kept in this tab until the tab is closed, and sent to this server alone."),
    );
    const no = h("button", { type: "button", click: () => dialog.close() }, "Cancel");
    const yes = h("button", { type: "submit", form: form.id, class: "strong" }, "Use this key");
    const dialog = openDialog("Key", [form], [no, yes]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null));
  });
}
