"""Noisy data of a matrix: the prior and the noise are learned with the factors.

The model is

``x_ij = <u_i, v_j> + b_i + c_j + noise``,   ``u_ik ~ N(0, s_k)``, ``v_jk ~ N(0, t_k)``,

with offsets that have priors of their own. Every row and column has a Gaussian
posterior (variational Bayes), and all variances follow from it. In which file is what:

- `given`: the data, row by row; `entries`: the units of their own spread.
- `entry_lines`: what the iteration asks of them, line by line; `lines_in_memory`: the
  answers; `given_in_chunks`, `lines_in_chunks`: those of data in chunks.
- `coordinates`: which numbers make up a row and a column.
- `noise`: one noise variance, one for each line, or a known one.
- `model`: the iteration, its evidence, and columns that are dropped and added.
- `recipe`: in which order, and from which starts.
- `chain`: draws of all this in place of Gaussians, noise by `precisions`; `draws`: what
  they say of rows, and `drawn_entries` of single entries.
- `complete`: complete data, for which the solution is known; `signal`: from which
  singular values.

Labels, counts and the like are entries with another loss:

- `working`: the loss near predictions, as Gaussian observations.
- `working_model`: the iteration for these, with prior means of the factors.
- `working_columns`: what it says of rows.
- `prior_path`: the priors that are candidates, from wide to learned.

Measurements that are no single entries have the same priors, and one noise variance:

- `gaussian`: what is known of a factor.
- `measured`, `iterative`: the data, and the systems that they make of one factor given
  the other.
- `bilinear`: the iteration and its evidence, for pairs of factors and symmetric
  matrices.
- `sensing`: in which order, and what is known of other measurements.
"""
