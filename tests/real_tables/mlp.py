"""Score of scikit-learn's multi-layer perceptron: accuracy on the test rows, or R² with --regression.

    mlp.py TRAIN.csv TEST.csv UNITS,UNITS [--regression]

Both tables have a header, and the label in the last column. Columns of numbers are standardised, others are one-hot.
"""

import csv
import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# Passes over the training rows, unless the loss stops falling before.
EPOCHS = 60


def read(path):
    with open(path, newline="") as file:
        rows = [[field.strip() for field in row] for row in list(csv.reader(file))[1:]]
    return np.array([row[:-1] for row in rows]), np.array([row[-1] for row in rows])


def numbers(column):
    try:
        return column.astype(float)
    except ValueError:
        return None


def encode(train, test):
    parts = [[], []]
    for index in range(train.shape[1]):
        columns = [part[:, index : index + 1] for part in (train, test)]
        if numbers(np.concatenate(columns)) is None:
            encoder = OneHotEncoder(categories=[np.unique(np.concatenate(columns))]).fit(columns[0])
            encoded = [encoder.transform(column).toarray() for column in columns]
        else:
            columns = [column.astype(float) for column in columns]
            scaler = StandardScaler().fit(columns[0])
            encoded = [scaler.transform(column) for column in columns]
        for part, column in zip(parts, encoded):
            part.append(column)
    return [np.hstack(part) for part in parts]


def main():
    (x_train, train), (x_test, test) = read(sys.argv[1]), read(sys.argv[2])
    x_train, x_test = encode(x_train, x_test)
    options = {
        "hidden_layer_sizes": [int(units) for units in sys.argv[3].split(",")],
        "max_iter": EPOCHS,
        "random_state": 1,
    }
    warnings.simplefilter("ignore", ConvergenceWarning)
    if "--regression" not in sys.argv:
        # A table of few rows has few steps an epoch.
        options["max_iter"] = max(EPOCHS, 200_000 // len(train))
        print(MLPClassifier(**options).fit(x_train, train).score(x_test, test))
        return
    train, test = train.astype(float), test.astype(float)
    mean, deviation = train.mean(), train.std()
    model = MLPRegressor(**options).fit(x_train, (train - mean) / deviation)
    print(model.score(x_test, (test - mean) / deviation))


if __name__ == "__main__":
    main()
