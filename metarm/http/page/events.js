// What has happened, newest first.

const EVENT_WORDS = {
  alarm: ["alarm", "Shift alarm"],
  started: ["off", "Alignment started"],
  admitted: ["good", "Admitted"],
  rejected: ["bad", "Rejected"],
  failed: ["bad", "Alignment failed"],
  rollback: ["off", "Rollback"],
};

function eventRow({ time, event, version, text }) {
  const [mark, words] = EVENT_WORDS[event] ?? ["off", event];
  return h(
    "tr",
    {},
    headerCell(momentOf(time)),
    h("td", { class: "text" }, marker(mark), words),
    h("td", {}, version ? format(version) : NO_VALUE),
    h("td", { class: "text wide" }, text),
  );
}

function eventsSection() {
  const table = h("div");
  function update({ status }) {
    const { events } = status;
    replaceIfChanged(table, events, () =>
      events.length > 0
        ? liveTable("Events, newest first", ["Time", "Event", "Version", "What"], events.toReversed().map(eventRow), {
            tall: true,
            class: "events",
          })
        : h("p", { class: "note" }, "Nothing has happened yet."),
    );
  }
  return { id: "events", title: "Events", content: [table], update };
}
