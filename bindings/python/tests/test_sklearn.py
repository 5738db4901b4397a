"""Estimators of scikit-learn."""

import copy
import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="SKIPPED: no scikit-learn")
from sklearn.datasets import load_digits, make_friedman1  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import fretwork as fw  # noqa: E402

SMALL = {"hidden": (64,), "sparsity": 0.5, "random_state": 0}


@parametrize_with_checks([fw.SparseMLPClassifier(hidden=(64, 64), epochs=40), fw.SparseMLPRegressor(hidden=(64, 64), epochs=40)])
def test_conventions(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return train_test_split(*load_digits(return_X_y=True), random_state=0)


def test_a_classifier_learns_in_a_pipeline(digits):
    x, x_test, y, y_test = digits
    pipe = make_pipeline(StandardScaler(), fw.SparseMLPClassifier(hidden=(256, 256), sparsity=0.8, method="rigl", epochs=20, random_state=1))
    pipe.fit(x, y)
    assert pipe.score(x_test, y_test) > 0.93
    assert (pipe.predict_proba(x_test).argmax(1) == pipe.predict(x_test)).all()
    clf = pipe[-1]
    assert clf.n_iter_ == 20 == len(clf.loss_curve_) and clf.loss_curve_[-1] < clf.loss_curve_[0]
    assert clf.summary_["params_present"] < 0.4 * clf.summary_["params_dense"]


def test_a_regressor_predicts_in_the_units_of_the_target():
    x, y = make_friedman1(1500, random_state=0)
    x, x_test, y, y_test = train_test_split(x, 1000 + 50 * y, random_state=0)
    pipe = make_pipeline(StandardScaler(), fw.SparseMLPRegressor(hidden=(64, 64), sparsity=0.5, epochs=30, random_state=1))
    pipe.fit(x, y)
    assert abs(pipe.predict(x_test).mean() - y_test.mean()) < 30 and pipe.score(x_test, y_test) > 0.8
    constant = fw.SparseMLPRegressor(hidden=(16,), sparsity=0, epochs=1).fit(x, np.full(len(x), 7.0))
    assert np.abs(constant.predict(x) - 7).max() < 2


def test_grid_search(digits):
    x, _, y, _ = digits
    search = GridSearchCV(fw.SparseMLPClassifier(epochs=30, **SMALL), {"method": ["static", "set"], "sparsity": [0.5, 0.7]}, cv=2)
    search.fit(x[:300], y[:300])
    assert search.best_score_ > 0.5 and len(search.cv_results_["params"]) == 4


def test_labels_are_those_of_y(digits):
    x, x_test, y, y_test = digits
    names = np.array([f"digit {digit}" for digit in range(10)])
    clf = fw.SparseMLPClassifier(epochs=10, **SMALL).fit(x / 16, names[y])
    assert (clf.classes_ == names).all()
    assert (clf.predict(x_test / 16) == names[y_test]).mean() > 0.8


def test_frames(digits):
    pandas = pytest.importorskip("pandas", reason="SKIPPED: no pandas")
    x, _, y, _ = digits
    columns = [f"pixel {place}" for place in range(64)]
    frame = pandas.DataFrame(x, columns=columns)
    clf = fw.SparseMLPClassifier(epochs=2, **SMALL).fit(frame, pandas.Series(y))
    assert list(clf.feature_names_in_) == columns
    plain = fw.SparseMLPClassifier(epochs=2, **SMALL).fit(x, y)
    assert np.array_equal(clf.predict_proba(frame), plain.predict_proba(x))
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[columns[::-1]])
    polars = pytest.importorskip("polars", reason="SKIPPED: no polars")
    of_polars = fw.SparseMLPClassifier(epochs=2, **SMALL).fit(polars.DataFrame(x, schema=columns), y)
    assert np.array_equal(of_polars.predict_proba(polars.DataFrame(x, schema=columns)), plain.predict_proba(x))


def test_the_same_seed_gives_the_same_bits(digits):
    x, _, y, _ = digits
    fit = lambda seed: fw.SparseMLPClassifier(epochs=2, **SMALL | {"random_state": seed}).fit(x, y).predict_proba(x)  # noqa: E731
    assert np.array_equal(fit(3), fit(3)) and not np.array_equal(fit(3), fit(4))
    assert np.array_equal(fit(np.random.RandomState(3)), fit(3))


def test_pickles_and_copies_predict_the_same_bits(digits):
    x, _, y, _ = digits
    for estimator in [fw.SparseMLPClassifier(epochs=2, **SMALL), fw.SparseMLPRegressor(epochs=2, **SMALL)]:
        estimator.fit(x, y)
        wanted = estimator.predict(x)
        for other in [pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator)]:
            assert np.array_equal(other.predict(x), wanted)


def test_partial_fit_goes_on(digits):
    x, x_test, y, y_test = digits
    x, x_test = x / 16, x_test / 16
    clf = fw.SparseMLPClassifier(lr=0.002, **SMALL)
    for epoch in range(12):
        # Parts of different numbers of rows; the first has only some of the classes.
        part = slice(None) if epoch else y < 4
        clf.partial_fit(x[part], y[part], classes=range(10))
    assert clf.n_iter_ == 12 and clf.score(x_test, y_test) > 0.85
    once = copy.deepcopy(clf).partial_fit(x, y)
    assert np.array_equal(once.predict_proba(x), pickle.loads(pickle.dumps(clf)).partial_fit(x, y).predict_proba(x))
    with pytest.raises(ValueError, match="labels \\[11\\], which are none of the classes"):
        clf.partial_fit(x, np.full(len(y), 11))
    with pytest.raises(ValueError, match="not those of the first call"):
        clf.partial_fit(x, y, classes=range(11))
    # fit begins anew.
    assert clf.set_params(epochs=3).fit(x, y).n_iter_ == 3
    reg = fw.SparseMLPRegressor(lr=0.002, **SMALL)
    for _ in range(20):
        reg.partial_fit(x, y)
    assert reg.score(x_test, y_test) > 0.5


def test_early_stopping_needs_validation(digits):
    x, _, y, _ = digits
    clf = fw.SparseMLPClassifier(epochs=200, validation=0.2, patience=2, lr=0.02, schedule="constant", **SMALL).fit(x, y)
    assert clf.n_iter_ < 200
    with pytest.raises(fw.errors.ConfigError, match="--patience has no effect: it needs rows"):
        fw.SparseMLPClassifier(patience=2, **SMALL).fit(x, y)


def test_refusals(digits):
    x, _, y, _ = digits
    with pytest.raises(NotFittedError):
        fw.SparseMLPClassifier().predict(x)
    for options, text in [
        ({"sparsity": 1.0}, "sparsity: 1 is not in"),
        ({"method": "rigel"}, "invalid value 'rigel'"),
        ({"options": {"update_every": 3}}, "--update-every has no effect"),
        ({"sparsity": None, "method": "rigl"}, "moves blocks"),
        ({"block": 7}, "block: 7 is none of"),
    ]:
        with pytest.raises(ValueError, match=text):
            fw.SparseMLPClassifier(**SMALL | options).fit(x, y)
    with pytest.raises(TypeError, match="sample_weight"):
        fw.SparseMLPClassifier(**SMALL).fit(x, y, sample_weight=np.ones(len(y)))


def test_progress_is_shown_where_it_is_asked_for(digits, capsys):
    x, _, y, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fw.SparseMLPClassifier(epochs=2, **SMALL).fit(x, y)
    assert capsys.readouterr().err == ""
    fw.SparseMLPClassifier(epochs=2, verbose=True, **SMALL).fit(x, y)
    assert capsys.readouterr().err.count("epoch") == 2
