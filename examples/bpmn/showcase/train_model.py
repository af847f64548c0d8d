"""Train a logistic regression by Newton's method; hold a quarter of the rows back."""

import numpy as np

data = np.array(rows)
features, clicked = data[:, :-1], data[:, -1]
mean, spread = features.mean(axis=0), features.std(axis=0)
inputs = np.column_stack([np.ones(len(data)), (features - mean) / spread])
held_back = np.arange(len(data)) % 4 == 0
known, answers = inputs[~held_back], clicked[~held_back]
weights = np.zeros(inputs.shape[1])
for _ in range(25):
    chance = 1 / (1 + np.exp(-known @ weights))
    curvature = (known.T * (chance * (1 - chance))) @ known + 1e-6 * np.eye(len(weights))
    weights += np.linalg.solve(curvature, known.T @ (answers - chance))

predicted = 1 / (1 + np.exp(-inputs[held_back] @ weights)) > 0.5
accuracy = round(float((predicted == clicked[held_back]).mean()), 4)
baseline = round(float(max(clicked.mean(), 1 - clicked.mean())), 4)
model = {"weights": weights, "mean": mean, "spread": spread, "columns": columns[:-1]}
print(f"accuracy {accuracy} on {held_back.sum()} rows, baseline {baseline}")
del data, features, clicked, inputs, held_back, known, answers, chance, curvature
del mean, spread, weights, predicted, rows
