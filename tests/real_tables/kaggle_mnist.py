"""MNIST in the shape of Kaggle's table, label,pixel0,…: kaggle_mnist.py MNIST.pkl.gz OUT.csv ROWS"""

import gzip
import pickle
import sys

import numpy as np


def main():
    with gzip.open(sys.argv[1]) as file:
        (pixels, labels), *_ = pickle.load(file, encoding="latin1")
    rows = int(sys.argv[3])
    # Pixels are bytes divided by 256.
    table = np.column_stack([labels[:rows], np.rint(pixels[:rows] * 256).astype(int)])
    header = ",".join(["label"] + [f"pixel{index}" for index in range(pixels.shape[1])])
    np.savetxt(sys.argv[2], table, fmt="%d", delimiter=",", header=header, comments="")


if __name__ == "__main__":
    main()
