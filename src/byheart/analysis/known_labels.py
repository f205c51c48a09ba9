"""Display names and colors of the shelf entries that byheart ships. Other names are shown with spaces for underscores."""

from __future__ import annotations

# Parameter-based methods have warm colors, prompt-based ones cold colors, from Okabe and Ito's color-blind-safe palette.
METHOD_STYLES = {
    "full": ("full", "#D55E00"),
    "head": ("head", "#E69F00"),
    "lora": ("LoRA", "#CC79A7"),
    "dp_full": ("DP full", "#661100"),
    "dp_lora": ("DP LoRA", "#882255"),
    "prefix": ("prefix", "#0072B2"),
    "prompt": ("prompt", "#56B4E9"),
    "p_tuning": ("P-tuning", "#009E73"),
}
PROMPT_BASED = frozenset({"prefix", "prompt", "p_tuning"})
FALLBACK_COLORS = ("#332288", "#999933", "#117733", "#44AA99", "#AA4499")

ATTACK_LABELS = {
    "loss": "Loss",
    "reference": "Reference",
    "zlib_ratio": "Zlib",
    "min_k": "Min-K%",
    "min_k_plus_plus": "Min-K%++",
    "min_k_plus_plus_calibrated": "Min-K%++ calibrated",
    "lowercase": "Lowercase",
    "surp": "SURP",
    "error_zone": "EZ-MIA",
    "wbc": "WBC",
    "dc_pdd": "DC-PDD",
    "camia": "CAMIA",
    "wel": "WEL-MIA",
    "recall": "ReCaLL",
    "con_recall": "Con-ReCall",
    "icp": "ICP-MIA",
    "icp_similar": "ICP-MIA (similar texts)",
    "neighbourhood": "Neighbourhood",
    "spv": "SPV-MIA (base as reference)",
    "lira": "LiRA",
    "rmia": "RMIA",
    "info_rmia": "InfoRMIA (first term)",
    "grad_norm": "GradNorm",
    "samia": "SaMIA",
    "ensemble": "Ensemble",
    "discoverable": "Discoverable",
    "approximate": "Approximate",
    "probabilistic": "(n, p)-discoverable",
}
DATASET_LABELS = {"webnlg": "WebNLG", "wikitext": "WikiText", "xsum": "XSum"}
METRIC_LABELS = {
    "auc": "ROC AUC",
    "group_auc": "ROC AUC over groups",
    "tpr_at_fpr": "TPR at low FPR",
    "perplexity": "validation perplexity",
    "train_perplexity": "training perplexity",
    "generalisation_gap": "generalization gap (nats per token)",
    "extraction_rate": "share of members extracted",
    "extraction_rate_nonmembers": "share of non-members extracted",
    "extraction_excess": "share extracted, members minus non-members",
    "exposure": "exposure (bits)",
    "held_out_exposure": "exposure of held-out canaries (bits)",
    "epsilon_lower_bound": "epsilon (lower bound)",
    "canary_tpr": "TPR on canaries at low FPR",
    "canary_guess": "guess that a canary was trained on",
    "accountant_epsilon": "epsilon (privacy accountant, upper bound)",
    "attribute_inference": "private attributes inferred among candidates",
    "attribute_extraction": "private attributes extracted",
    "drift": "drift from the base model",
    "capacity": "bits stored per trained parameter",
    "chrf": "chrF of completions",
    "bleu": "BLEU of completions",
    "rouge": "ROUGE of completions",
    "counterfactual_memorization": "counterfactual memorization (nats per token)",
    "counterfactual_agreement": "rank correlation with counterfactual memorization",
    "passes": "forward passes over the audited texts",
    "seconds": "seconds",
}
