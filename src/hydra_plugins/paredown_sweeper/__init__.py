"""A Hydra sweeper that searches for the Pareto front with Optuna: `hydra/sweeper=pareto`."""
