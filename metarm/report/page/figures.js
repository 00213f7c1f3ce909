// What the figures are called, and which belong together.

const titleOf = (key) => {
  const text = key.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

// Of a round's stages, by the names that the commands give them (rounds.jsonl less the stage); others follow under their own names.
const ROUND_FIGURES = [
  {
    title: "Reward model",
    figures: [
      ["pairs.accuracy", "Accuracy on held-out pairs", "fixed"],
      ["responses.second_rm.accuracy", "Agreement with a second reward model on the policy\u2019s responses", "fixed"],
      ["gold_accuracy", "Agreement with gold on the policy\u2019s responses", "fixed"],
      ["pairs.calibration_error", "Calibration error", "fixed"],
      ["pairs.reward_deviation", "Deviation of the rewards on the pairs", "fixed"],
    ],
  },
  {
    title: "Reward differences between responses",
    figures: [
      ["responses.mean", "Mean", "fixed"],
      ["responses.variance", "Variance", "fixed"],
      ["responses.scaled_mean", "Mean / deviation", "fixed"],
      ["responses.scaled_variance", "Variance / deviation squared", "fixed"],
      ["responses.before.before", "Mean / deviation by the earlier reward model", "fixed"],
      ["responses.before.share_lost", "Prompts that lost discrimination since", "percent"],
      ["responses.near_ties", "Near ties", "percent"],
      ["responses.outliers.farther", "Farther out than a reference response", "fixed"],
      ["responses.outliers.share", "Outliers", "percent"],
    ],
  },
  {
    title: "Policy",
    figures: [
      ["reward", "Proxy reward", "fixed"],
      ["eval_reward", "Proxy reward on probe prompts", "fixed"],
      ["gold_reward", "Gold reward", "fixed"],
      ["eval_gold_reward", "Gold reward on probe prompts", "fixed"],
      ["kl", "KL from the reference policy", "fixed"],
      ["divergence.k3_per_response", "KL from the reference policy on sampled responses", "fixed"],
      ["win", "Win", "percent"],
      ["tie", "Tie", "percent"],
      ["lose", "Lose", "percent"],
    ],
  },
];

// Of a training's steps, a chart each. A chart's figures, [key, what it is beside the first], share its axis.
const HELD_OUT = "held out";
const PROBE = "probe prompts";
const PANELS = [
  { title: "Loss", keys: [["loss"], ["eval_loss", HELD_OUT]], note: "Of the step\u2019s rows." },
  { title: "Accuracy", keys: [["accuracy"], ["eval_accuracy", HELD_OUT]], note: "Share of pairs with the chosen response ahead." },
  {
    title: "Difference loss J",
    keys: [
      ["j_after", "after"],
      ["j_before", "before"],
    ],
    note: "At the step\u2019s groups, after and before the meta step.",
  },
  { title: "Meta learning rate", keys: [["meta_lr"]], note: "That of the step\u2019s mode, as it adapts." },
  { title: "Meta interval", keys: [["meta_interval"]], note: "Steps from one meta step of the mode to its next." },
  { title: "Meta step", keys: [["meta_step_ratio"]], note: "Its length relative to the weights\u2019." },
  { title: "Gradients of J and L", keys: [["meta_cosine"]], note: "The cosine between them." },
  { title: "Kept share", keys: [["kept_share"]], note: "How much of the meta step bfloat16 kept; 1 is all." },
  {
    title: "Importance of pairs",
    keys: [
      ["importance"],
      ["importance_min", "least"],
      ["importance_max", "most"],
    ],
    note: "Mean weight of the step\u2019s pairs; the least and the most of all.",
  },
  {
    title: "Reward",
    keys: [
      ["reward", "proxy"],
      ["gold_reward", "gold"],
      ["eval_reward", `proxy, ${PROBE}`],
      ["eval_gold_reward", `gold, ${PROBE}`],
    ],
    note: "Proxy: by the reward model that is optimised.",
  },
  { title: "KL", keys: [["kl"], ["eval_kl", PROBE]], note: "From the reference policy, nats a response." },
  { title: "Gold accuracy", keys: [["gold_accuracy"], ["eval_gold_accuracy", PROBE]], note: "Pairs of responses that both order alike." },
  {
    title: "Reward differences: mean",
    keys: [["reward_difference_mean"], ["eval_reward_difference_mean", PROBE]],
    note: "Between the responses to one prompt.",
  },
  { title: "Reward differences: variance", keys: [["reward_difference_variance"], ["eval_reward_difference_variance", PROBE]] },
  {
    title: "Reward differences: mean / unit",
    keys: [["eval_reward_difference_scaled_mean", PROBE]],
    note: "In units of the deviation of the first step\u2019s rewards.",
  },
  {
    title: "Reward differences: near ties",
    keys: [["eval_reward_difference_near_ties", PROBE]],
    note: "Pairs nearer than a tenth of that deviation.",
  },
  { title: "Entropy", keys: [["entropy"]], note: "Of the policy\u2019s next token." },
  { title: "Response length", keys: [["response_length"], ["eval_response_length", PROBE]], note: "Tokens." },
  { title: "Ended by themselves", keys: [["ended"], ["eval_ended", PROBE]], note: "Share of responses that came to their end." },
  { title: "Clipped tokens", keys: [["clip_share"]] },
  {
    title: "Implicit rewards",
    keys: [
      ["chosen_reward", "chosen"],
      ["rejected_reward", "rejected"],
    ],
  },
  { title: "Perplexity", keys: [["eval_perplexity"]], note: "On held-out responses." },
  { title: "Margin", keys: [["margin"], ["eval_margin", HELD_OUT]], note: "Mean reward difference, chosen less rejected." },
  { title: "Pairs a second", keys: [["pairs_per_s"]] },
];

// Not shown at first: they matter when something is wrong.
const MORE_PANELS = [
  { title: "Learning rate", keys: [["learning_rate"]] },
  { title: "Gradient norm", keys: [["gradient_norm"]], note: "Before clipping." },
  { title: "Reward deviation", keys: [["reward_deviation"], ["eval_reward_deviation", "when evaluated"]] },
  { title: "Logarithm of the KL", keys: [["log_kl"]] },
  { title: "KL coefficient", keys: [["kl_coef"]] },
  { title: "Tokens a second", keys: [["tokens_per_s"]] },
  { title: "Memory at most", keys: [["peak_memory_bytes"]], kind: "bytes" },
  { title: "Pairs a step", keys: [["pairs"]] },
  { title: "Response groups a step", keys: [["groups"]] },
  { title: "Prompts a step", keys: [["prompts"]] },
  { title: "Responses a step", keys: [["responses"]] },
  { title: "Response tokens a step", keys: [["response_tokens"]] },
  { title: "Responses a second", keys: [["responses_per_s"]] },
  { title: "Tokens a step", keys: [["tokens"]] },
  { title: "Effective share of pairs", keys: [["importance_effective_share"]], note: "Of the importance weights; the same in all steps." },
  { title: "Epoch", keys: [["epoch"]] },
  { title: "Steps left out", keys: [["skipped"]], note: "Their gradient was not finite." },
];

// Runs that share charts: figures of the same name mean the same in them.
const RUN_KINDS = [
  { commands: ["train", "align"], title: "Reward models" },
  { commands: ["sft"], title: "Supervised fine-tuning" },
  { commands: ["dpo"], title: "Direct preference optimisation" },
  { commands: ["ppo"], title: "Policy optimisation" },
];

function kindsOf(runs) {
  const kinds = RUN_KINDS.map((kind) => ({ title: kind.title, runs: runs.filter((run) => kind.commands.includes(run.command)) }));
  const known = RUN_KINDS.flatMap((kind) => kind.commands);
  const others = [...new Set(runs.map((run) => run.command))].filter((command) => !known.includes(command));
  for (const command of others)
    kinds.push({ title: command ? titleOf(command) : "Trainings", runs: runs.filter((run) => run.command === command) });
  return kinds.filter((kind) => kind.runs.length > 0);
}

// The charts for these runs: those known, in order, then one for each figure that has no place in one.
function panelsOf(runs) {
  const present = new Set(runs.flatMap((run) => Object.keys(run.figures)));
  const keysOf = (panel) => panel.keys.map(([key]) => key);
  const taken = new Set([...PANELS, ...MORE_PANELS].flatMap(keysOf));
  const isEnd = (key) => /_(low|high)$/.test(key) && present.has(key.replace(/_(low|high)$/, ""));
  const withFigures = (panels) => panels.filter((panel) => keysOf(panel).some((key) => present.has(key)));
  const others = [...present].filter((key) => !taken.has(key) && !isEnd(key)).map((key) => ({ title: titleOf(key), keys: [[key]] }));
  return { main: [...withFigures(PANELS), ...others], more: withFigures(MORE_PANELS) };
}
