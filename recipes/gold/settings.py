"""What the study of over-optimisation compares, and how large it is. docs/experiments.md says why."""

from dataclasses import dataclass, field

SEEDS = (1, 2, 3, 4, 5)
ROUNDS = 3

# Prompts of each kind and responses drawn for each.
PAIR_PROMPTS, PAIR_RESPONSES = 400, 4  # what the proxies learn from
TRAIN_PROMPTS, TRAIN_RESPONSES = 48, 64  # where shifted responses come from
TEST_PROMPTS, TEST_RESPONSES = 48, 64  # where everything is measured
ELSEWHERE_PROMPTS, ELSEWHERE_RESPONSES = 32, 32  # the same, of another kind
MAX_NEW_TOKENS = 32
MAX_PROMPT_TOKENS = 256

TRUNK_LAYERS = 6  # of a proxy; the gold reward model has all
PROXY_PAIRS, HELD_OUT_PAIRS = 400, 300
POLICY_N = 8  # the current policy is best-of-8 by the newest reward model
GROUPS_STEP, PAIRS_STEP, ALIGN_STEPS = 4, 8, 20
BEST_OF = (1, 2, 4, 8, 16, 32, 64)  # as far as a pool reaches

GOLD = {"lr": 2e-5, "batch_size": 16, "seed": 1}
POLICY = {"lr": 3e-5, "batch_size": 16, "max_steps": 24, "seed": 1}
PROXY = {"lr": 5e-5, "batch_size": 16, "epochs": 2}
ALIGN = {"lr": 1e-5, "batch_size": PAIRS_STEP, "meta_batch_size": GROUPS_STEP, "max_steps": ALIGN_STEPS, "lr_schedule": "constant"}

# Policies that really move.
DRAWN = 16  # responses to each training prompt in a round; the first k are the shifted groups
EXAMINED = {"test": 8, "elsewhere": 4}  # responses drawn to each prompt
DISTILL = {"lr": 1e-5, "batch_size": 16, "epochs": 3}
RLOO = {"lr": 1e-5, "batch_size": 8, "responses": 4, "max_steps": 24, "kl_coef": 0.02, "normalize_rewards": True}


@dataclass(frozen=True)
class Method:
    """A way of going on from a proxy, round after round. Without options the proxy stays as it is."""

    name: str
    options: dict = field(default_factory=dict)  # of `metarm align`
    responses: int = 4  # k
    n: int = POLICY_N  # of the best-of-n policy whose responses are taken; 1: of the first policy
    restart: bool = False  # each round from the first proxy instead of the last one
    rounds: int = ROUNDS

    @property
    def trains(self):
        return bool(self.options)

    @property
    def folder(self):
        return self.name.replace(",", "").replace(" = ", "").replace(" ", "-")


def meta(**options):
    return {"method": "meta"} | options


# The comparison that was planned: every method against `none`, further training on the pairs alone.
MAIN = (
    Method("vanilla"),
    Method("none", {"method": "none"}),
    Method("meta 0.02", meta(meta_lr=0.02)),
    Method("meta 0.1", meta(meta_lr=0.1)),
    Method("joint 0.1", {"method": "joint", "joint_weight": 0.1}),
    Method("joint 0.5", {"method": "joint", "joint_weight": 0.5}),
    Method("meta 0.1, from the first", meta(meta_lr=0.1), restart=True),
)
# What is asked first (docs/experiments.md), for all seeds before anything else.
QUESTION = tuple(method for method in MAIN if method.name in ("vanilla", "none", "meta 0.02", "meta 0.1"))
# One round each: where on its axis a setting helps or hurts.
GRID = (
    Method("meta 0.005", meta(meta_lr=0.005), rounds=1),
    Method("meta 0.05", meta(meta_lr=0.05), rounds=1),
    Method("meta 0.3", meta(meta_lr=0.3), rounds=1),
    Method("meta 0.1, second order", meta(meta_lr=0.1, meta_order="second"), rounds=1),
    Method("meta 0.1, k = 2", meta(meta_lr=0.1), responses=2, rounds=1),
    Method("meta 0.1, k = 8", meta(meta_lr=0.1), responses=8, rounds=1),
    Method("meta 0.1, first policy", meta(meta_lr=0.1), n=1, rounds=1),
    Method("meta absolute 5e-6", meta(meta_lr=5e-6, meta_scale="absolute"), rounds=1),
    Method("meta absolute 0.05", meta(meta_lr=0.05, meta_scale="absolute"), rounds=1),
    Method("meta adam 1e-5", meta(meta_lr=1e-5, meta_scale="adam"), rounds=1),
)

IMPORTANCE = Method("importance", {"method": "importance"})  # OCRM's weighted pairs; needs a policy that is a model
# optimiser -> (methods, which of SEEDS; others are taken where they are asked for)
MOVING = {
    "distilled best-of-n": ((*MAIN, IMPORTANCE), SEEDS),
    "RLOO": (tuple(method for method in MAIN if method.name in ("vanilla", "none", "meta 0.1")), SEEDS[:3]),
}
