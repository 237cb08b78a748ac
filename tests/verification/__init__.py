"""What judges the whole: simulation, chaos, fuzz, reference model, mutants, upgrade, the dict store."""
