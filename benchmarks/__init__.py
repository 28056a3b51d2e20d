"""What engagelab-mock costs, as ratios taken in one run; `python -m benchmarks` prints them next to their budgets."""
