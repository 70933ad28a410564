"""The noop of bench/languages in Python."""
from rappel import action


@action
def noop():
    return None
