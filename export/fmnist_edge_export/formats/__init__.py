"""The exported forms: how each is built from a float network, and sealed with its contract."""
