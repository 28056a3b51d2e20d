"""What engagelab-mock costs, as ratios taken in one run; `python -m benchmarks` prints them beside their budgets."""
