"""From a trained ensemble to labels, uncertainties and flags."""
