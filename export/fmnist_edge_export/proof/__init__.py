"""The parity gate: what was exported answers as the float model did, or it does not ship."""
