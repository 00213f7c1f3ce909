"""What the comparison of the toolbox's parts has in it. docs/experiments.md says why."""

SEEDS = (1, 2, 3, 4, 5)
MEMBERS = 5  # of an ensemble

# name -> options of `metarm train` beside those of recipes/gold's proxies, as many steps as theirs; with a consistency_coef unlabelled
# groups of the shifted responses are read beside the pairs; with eval_steps the pairs that are neither learned nor measured
TRAININGS = {
    "dropout 0.1": {"dropout": 0.1},
    "weight decay 0.1": {"weight_decay": 0.1},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "centering 0.01": {"center_rewards_coefficient": 0.01},
    "pull to the start 1000": {"l2_sp": 1000},
    "3 of 6 layers frozen": {"freeze_layers": 3},
    "unfrozen every 5 steps": {"unfreeze_every": 5},
    "early stopping": {"eval_steps": 10, "early_stopping_patience": 1},
    "layer rates 0.7": {"layer_lr_decay": 0.7},
    "head of zeros": {"init_head": "zeros"},
    "consistency 1": {"dropout": 0.1, "consistency_coef": 1.0},
    "language-model loss 0.01": {"lm_loss_weight": 0.01},
    "language-model loss 0.1": {"lm_loss_weight": 0.1},
    "batch normalization": {"head_training": "batch-norm"},
    "bottleneck 0.001": {"head_training": "bottleneck"},
    "length head": {"head_training": "length-head"},
    "LoRA of rank 16": {"lora_rank": 16, "lr": 5e-4, "merge_lora": True},
}
# name -> options of `metarm augment`, whose rows are learned instead, in as many steps; `groups`: with those of the shifted responses that the
# plain model is sure of; `order`: learned in that order; with a min_label_gap the pairs that the plain model is sure of are left out
AUGMENTATIONS = {
    "other prompts' responses": {"cross_chosen_share": 0.25, "cross_rejected_share": 0.25, "cross_neutral_share": 0.17},
    "other prompts' responses, filtered": {"cross_chosen_share": 0.25, "cross_rejected_share": 0.25, "cross_neutral_share": 0.17, "min_label_gap": 0.2},
    "corruptions": {"truncate_share": 0.25, "repeat_share": 0.25, "shuffle_share": 0.25, "swap_share": 0.25},
    "balanced lengths": {"balance_lengths": "weight"},
    "pseudo-labels": {"groups": True, "select": "all", "min_confidence": 0.7},
    "pseudo-labels, surest first": {"groups": True, "select": "all", "min_confidence": 0.7, "order": "confidence"},
}
META = "MetaRM 0.1"  # also of the aligned ensemble's members
# name -> options of `metarm align` for one round from the plain model; `eval_steps`: on the pairs that are neither learned nor measured
ALIGNMENTS = {
    "none": {"method": "none"},
    META: {"meta_lr": 0.1},
    "MetaRM 0.1, hard half": {"meta_lr": 0.1, "hard_groups": 0.5},
    "MetaRM 0.1, near-duplicates out": {"meta_lr": 0.1, "max_overlap": 0.5},
    "MetaRM 0.1, adapted": {"meta_lr": 0.1, "meta_adapt": 1.0},
    "MetaRM 0.1, adapted intervals": {"meta_lr": 0.1, "meta_adapt": 1.0, "meta_adapt_target": "interval"},
    "MetaRM 0.1, clusters": {"meta_lr": 0.1, "balance_by": "clusters"},
    "MetaRM 0.1, backed off": {"meta_lr": 0.1, "meta_backoff": 0.5, "eval_steps": 5},
}
# name -> options of `metarm ensemble` for the members
ENSEMBLES = {
    "ensemble of 5, mean": {"aggregate": "mean"},
    "ensemble of 5, median": {"aggregate": "median"},
    "ensemble of 5, worst": {"aggregate": "min"},
    "ensemble of 5, mean - 0.5 variance": {"aggregate": "uncertainty", "uncertainty_weight": 0.5},
}
ALIGNED, MERGED, DISTILLED = "ensemble of 5, each MetaRM 0.1", "weights of 5 averaged", "distilled from 5"
