"""REPLs for model-written code: the host half, the boxes, the guest."""
