"""The numbers that the AspGap paper prints for itself, to be shown beside ours."""

from __future__ import annotations

__all__ = ["PAPER", "SOURCE"]

SOURCE = (
    "Li et al. 2023 (AspGap), section 4.1 and figure 8: two-fold cross-validation on another, "
    "larger training set (142,130 stars), so not directly comparable"
)

# {group: {label: {statistic: as printed}}}: text, for 0.10 claims more than 0.1.
# Groups, labels and statistics are those of `metrics.metrics_table`.
PAPER: dict[str, dict[str, dict[str, str]]] = {
    "all": {
        "teff": {"rms": "48", "outlier_rate": "0.05 %", "chi_sigma": "~1.3"},
        "logg": {"rms": "0.12", "outlier_rate": "6.67 %", "chi_sigma": "~1.3"},
        "m_h": {"rms": "0.07", "chi_sigma": "~1.3"},
        "alpha_m": {"rms": "0.03", "chi_sigma": "~1.3"},
    },
    "g_lt_14": {
        "teff": {"rms": "46"},
        "logg": {"rms": "0.10"},
        "m_h": {"rms": "0.06"},
        "alpha_m": {"rms": "0.021"},
    },
}
