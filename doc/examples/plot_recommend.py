"""
Recommend to new users
======================

Ratings of films tell what users like, once they have rated some. Of those who have not,
features may tell: here tastes depend on age and on a hobby, and films have genres. All
of it is generated.
"""

# %%
# Users, films, and who has rated what
# ------------------------------------
#
# What users like follows from their features in part, and they rate what they like more
# often than other films. The last hundred users are new.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skprecgd import PrecGDRecommender

rng = np.random.default_rng(0)
n_users, n_films, n_new = 500, 200, 100
users = pd.DataFrame(
    {
        "age": rng.uniform(-1.5, 1.5, n_users),
        "gardener": rng.integers(0, 2, n_users),
        "climber": rng.integers(0, 2, n_users),
    },
    index=[f"user {k}" for k in range(n_users)],
)
genres = pd.DataFrame(
    np.eye(4)[rng.integers(0, 4, n_films)],
    columns=["comedy", "drama", "nature", "thriller"],
    index=[f"film {k}" for k in range(n_films)],
)
liking = users.to_numpy() @ rng.normal(size=(3, 3)) + 0.5 * rng.normal(
    size=(n_users, 3)
)
kind = genres.to_numpy() @ rng.normal(size=(4, 3)) + 0.5 * rng.normal(size=(n_films, 3))
truth = 3.5 + 0.5 * liking @ kind.T + 0.4 * rng.normal(size=n_films)
seen = rng.random(truth.shape) < 0.1 / (1 + np.exp(3.5 - truth))
seen[-n_new:] = False
rows, columns = np.nonzero(seen)
pairs = pd.DataFrame({"user": users.index[rows], "film": genres.index[columns]})
stars = truth[seen] + 0.5 * rng.normal(size=len(rows))
print(f"{len(stars)} ratings, {len(stars) / (n_users - n_new):.0f} of a user")

# %%
# Three models
# ------------
#
# Without features, with those of users and films, and with what was rated at all beside
# them. Features move the *prior*: the more a user has rated, the less they count.

plain = PrecGDRecommender().fit(pairs, stars)
told = PrecGDRecommender().fit(pairs, stars, row_features=users, column_features=genres)
everything = PrecGDRecommender(features="seen").fit(
    pairs, stars, row_features=users, column_features=genres
)

# %%
# A user whom the fit does not know is predicted by the offsets of the films, and a
# warning says so; one with features needs no rating.

films = np.flatnonzero(genres.index.isin(plain.column_labels_))
asked = pd.DataFrame(
    {
        "user": np.repeat(users.index, len(films)),
        "film": np.tile(genres.index[films], n_users),
    }
)
errors = {}
for name, model in [("none", plain), ("features", told), ("and seen", everything)]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = model.predict(asked).reshape(n_users, -1)
    squares = (predicted - truth[:, films]) ** 2
    errors[name] = [
        np.sqrt(np.mean(part)) for part in (squares[:-n_new], squares[-n_new:])
    ]
    print(name, np.round(errors[name], 2))

figure, axis = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
for k, group in enumerate(["known users", "new users"]):
    heights = [error[k] for error in errors.values()]
    axis.bar(np.arange(3) + 0.4 * k - 0.2, heights, 0.38, label=group)
axis.set_xticks(range(3), errors)
axis.set(ylabel="root mean squared error", xlabel="side information")
axis.legend()

# %%
# Lists, and tomorrow's ratings
# -----------------------------
#
# New users get lists by their features. What they rate then joins the rest:
# `partial_fit` starts where the last fit has ended.

print(told.recommend(users.index[-1:], n=3, as_frame=True))

is_new = asked["user"].isin(users.index[-n_new:]).to_numpy()
today = is_new & (rng.random(len(asked)) < 0.1)
others = is_new & ~today
true = truth[:, films].ravel()
before = told.predict(asked[others])
told.partial_fit(asked[today], true[today] + 0.5 * rng.normal(size=np.sum(today)))
for name, predicted in [("before", before), ("after", told.predict(asked[others]))]:
    error = np.sqrt(np.mean((predicted - true[others]) ** 2))
    print(f"error of the other films of new users {name}: {error:.2f}")
plt.show()
