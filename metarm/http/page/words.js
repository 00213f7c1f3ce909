// What the server does, in words. A fact: { id, label, mark, value, more }; its mark is a shape and a colour beside the words.

const titleOf = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: "UTC" });
const formatMoment = (secondsSince1970) => `${MOMENT.format(new Date(1000 * secondsSince1970))} UTC`;
const formatClock = (secondsSince1970) => `${CLOCK.format(new Date(1000 * secondsSince1970))} UTC`;
const momentOf = (secondsSince1970) =>
  h("time", { datetime: new Date(1000 * secondsSince1970).toISOString() }, formatMoment(secondsSince1970));

const STREAMS = { differences: "reward differences", rewards: "rewards" };
const BEGUN = {
  alarm: "after the shift alarm",
  groups: "after enough response groups",
  request: "on request",
  step: "at a step of the trainer",
};
// [mark, what was decided]
const DECISIONS = {
  admitted: ["good", (version) => `Version ${version} admitted`],
  rejected: ["bad", (version) => `Version ${version} rejected`],
  failed: ["bad", () => "The alignment failed"],
  rollback: ["off", (version) => `Back to version ${version}`],
};

function servingFact({ models, alignment }) {
  const [model] = models;
  const value = alignment.version ? `Version ${alignment.version} of ${model.name}` : model.name;
  return { id: "serving", label: "Serving", mark: "good", value, more: `${model.version}, since ${formatMoment(model.loaded_at)}` };
}

const evidenceText = (shift, stream) => `${format(shift[stream].evidence, "fixed")} of ${format(shift.threshold, "fixed")}`;

function shiftFact({ shift }) {
  const fact = { id: "alarm", label: "Shift" };
  if (!shift) return { ...fact, mark: "off", value: "Not watched", more: "" };
  if ("reference_wanted" in shift)
    return {
      ...fact,
      mark: "busy",
      value: "No alarm yet",
      more: `A reference is being collected: ${format(shift.reference)} of ${format(shift.reference_wanted)} prompts.`,
    };
  const stream = shift.rewards.evidence > shift.differences.evidence ? "rewards" : "differences";
  const more = `Strongest evidence: ${evidenceText(shift, stream)}, in the ${STREAMS[stream]}.`;
  return { ...fact, mark: shift.alarm ? "alarm" : "good", value: shift.alarm ? "Alarm" : "No alarm", more };
}

function alignmentFact({ alignment }) {
  const fact = { id: "alignment", label: "Alignment" };
  if (!alignment.enabled) return { ...fact, mark: "off", value: "Off", more: "The server has no pairs to align with (--pairs)." };
  if (alignment.state === "idle") {
    const more = `${format(alignment.groups)} response groups since the last one; one takes ${format(alignment.groups_wanted)}.`;
    return { ...fact, mark: "off", value: "Not running", more };
  }
  const value = alignment.state === "checking" ? "Checking the candidate" : "Running";
  return { ...fact, mark: "busy", value, more: `Begun ${BEGUN[alignment.reason] ?? alignment.reason}, ${formatMoment(alignment.since)}.` };
}

function decisionFact({ events }) {
  const fact = { id: "decision", label: "Last decision" };
  const last = events.findLast(({ event }) => event in DECISIONS);
  if (!last) return { ...fact, mark: "off", value: "None yet", more: "" };
  const [mark, words] = DECISIONS[last.event];
  return { ...fact, mark, value: words(last.version), more: `${last.text} (${formatMoment(last.time)})` };
}

const factsOf = (status) => [servingFact, shiftFact, alignmentFact, decisionFact].map((fact) => fact(status));

// The facts as sentences, without the numbers that change all the time: what a screen reader is told.
function headlineOf(status) {
  const [serving, shift, alignment, decision] = factsOf(status);
  const last = decision.more ? `: ${decision.more}` : "";
  return `Serving ${serving.value.replace(/^Version/, "version")}. Shift: ${shift.value}. Alignment: ${alignment.value}. Last decision: ${decision.value}${last}.`;
}

const marker = (mark) => h("span", { class: `mark ${mark}`, "aria-hidden": "true" });
