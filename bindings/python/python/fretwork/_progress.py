"""Progress of a run: a bar in terminals and notebooks, a line for each epoch elsewhere."""

import json
import sys

__all__ = ["watcher"]

_WIDTH = 20


def watcher(progress):
    """Callback for events as JSON. `progress`: True to show them, False for none, or a function of an event, a dict."""
    if callable(progress):
        return lambda text: progress(json.loads(text))
    if not progress:
        return None
    show = _Notebook() if _in_notebook() else _Terminal() if sys.stderr.isatty() else _Lines()
    return lambda text: show.see(json.loads(text))


def _in_notebook():
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _scores(of):
    """Loss and accuracy, or the errors of a regression."""
    if of.get("rmse") is not None:
        return f"RMSE {of['rmse']:.5g}" + (f", R² {of['r2']:.4f}" if of.get("r2") is not None else "")
    accuracy = of.get("accuracy")
    return f"loss {of['loss']:.4f}" + (f", accuracy {accuracy:.4f}" if accuracy is not None else "")


def _epoch(event):
    parts = [f"train {_scores(event['train'])}"]
    if "validation" in event:
        parts.append(f"validation {_scores(event['validation'])}")
    parts += [f"test {_scores(event['test'])}", f"{event['steps_per_second']:.0f} steps/s"]
    return f"epoch {event['epoch'] + 1}: " + "; ".join(parts)


def _bar(event):
    """Line of an event that comes often."""
    if event["event"] == "progress":
        done, of, label = event["step"], event["steps"], f"epoch {event['epoch'] + 1:>3}"
        tail = "" if event["loss"] is None else f"loss {event['loss']:.3f}"
        if event["accuracy"] is not None:
            tail += f" acc {event['accuracy']:.3f}"
    else:
        done, of, label, tail = event["done"] + 1, event["of"], event["event"], event["kernel"]
    filled = _WIDTH * done // max(of, 1)
    return f"{label} [{'=' * filled}{' ' * (_WIDTH - filled)}] {done}/{of}  {tail}"[:79]


class _Lines:
    """A line for each epoch and notice on the standard error, as the program prints without a terminal."""

    def see(self, event):
        if event["event"] == "notice":
            print(f"note: {event['text']}", file=sys.stderr)
        elif event["event"] == "epoch":
            print(_epoch(event), file=sys.stderr)


class _Terminal:
    """A bar on the last line of the standard error; epochs and notices stay above it."""

    def see(self, event):
        if event["event"] == "notice":
            sys.stderr.write(f"\r\033[Knote: {event['text']}\n")
        elif event["event"] == "epoch":
            sys.stderr.write(f"\r\033[K{_epoch(event)}\n")
        else:
            sys.stderr.write(f"\r\033[K{_bar(event)}")
        sys.stderr.flush()


class _Notebook:
    """Text below the cell that is replaced at each event; epochs and notices stay."""

    def __init__(self):
        self.lines = []
        self.handle = None

    def see(self, event):
        last = []
        if event["event"] == "notice":
            self.lines.append(f"note: {event['text']}")
        elif event["event"] == "epoch":
            self.lines.append(_epoch(event))
        else:
            last = [_bar(event)]
        from IPython.display import display

        shown = {"text/plain": "\n".join(self.lines + last)}
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)
