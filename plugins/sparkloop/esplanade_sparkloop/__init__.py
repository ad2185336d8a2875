"""SparkLoop, the referral platform, as an Esplanade connector. Begin with ``plugin.py``."""
