"""The path in rank: which question is answered in which file.

- `rank_path`: the public function, and what else the estimators call.
- `search`: the order in which things are tried.
- `settings`: everything that says how to search; `tuning`: the numbers behind it.
- `early_stopping`: whether measurements are held out, and when the path stops growing.
- `strategy`: which solvers suit an objective at a rank, and when a stage ends.
- `pursuit`: greedy rank-one pursuit, that is solve, grow, solve.
- `given`: what becomes of factors that are given as a start.
- `growing`, `cluster`: which columns are added, and how many at a time.
- `walk`: runs the solvers and keeps the stages.
- `held_out`: chooses the rank by held-out measurements.
- `whole_data`: whether the data are explained with nothing, or with less, left out.
- `scarce`, `posterior`: fresh starts where measurements are scarce.
"""
