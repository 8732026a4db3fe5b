"""The verdict: claims of the paper, held or not, by numbers counted by hand."""

from __future__ import annotations

from aspgap_jax.suite.verdict import judge


def test_accuracy_holds_to_the_digits_that_are_printed() -> None:
    rows = {"teff": {"rms": 48.4}, "logg": {"rms": 0.126}, "m_h": {"rms": None}}
    verdict = judge({"figure05": {"all": rows, "g_lt_14": {"teff": {"rms": 45.0}}}})
    assert verdict is not None
    assert [(claim.ours, claim.paper, claim.held) for claim in verdict.claims] == [
        ("48.4", "48", True),
        ("0.126", "0.12", False),
        ("45.0", "46", True),
    ]
    assert verdict.claims[1].words == "rms of log g [dex], all stars"
    assert verdict.summary.startswith("2 of the 3 claims")


def test_uncertainties_may_be_off_as_far_as_the_papers() -> None:
    verdict = judge({"figure08": {"teff": {"sigma": 0.72}, "logg": {"sigma": 1.34}}})
    assert verdict is not None
    assert [claim.held for claim in verdict.claims] == [True, False]


def test_disks_gradients_and_information() -> None:
    numbers = {
        "table03": {"classes": {"low": {"precision": 0.966, "recall": 0.949}}},
        "figure04": {
            "agreement": {
                "hallucinated \N{MULTIPLICATION SIGN} synthesis": {
                    "teff": {"correlation": 0.9, "chance": 0.03},
                    "logg": {"correlation": -0.01, "chance": 0.03},
                }
            }
        },
        "alpha_information": {
            "conditional_permutation": {
                "other labels, also AspGap's": {"AspGap": {"correlation": 0.46, "chance": 0.02}}
            }
        },
    }
    verdict = judge(numbers)
    assert verdict is not None
    assert [claim.held for claim in verdict.claims] == [True, False, True, False, True]


def test_a_run_without_numbers_has_no_verdict() -> None:
    assert judge({"figure01": {"BP": {"stars": 3}}}) is None
