"""The machine that a benchmark runs on: what it is, and who else uses it."""

import os
import platform
import resource

TICK = os.sysconf("SC_CLK_TCK")
# What others may take of the machine before figures are doubtful.
OTHERS_SHARE = 0.10
STOLEN_SHARE = 0.03


def description():
    """In general words, so that a reader can judge the figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpus": os.cpu_count(), "memory_gib": round(memory / 2**30, 1),
            "kernel": platform.release().split("-")[0],
            "architecture": platform.machine()}


def cpu_times(line):
    """(busy, stolen) seconds of all CPUs, of the first line of /proc/stat."""
    user, nice, system, _, _, irq, soft, stolen = (
        int(n) / TICK for n in line.split()[1:9])
    return user + nice + system + irq + soft, stolen


def _cpu_times_now():
    with open("/proc/stat", encoding="utf-8") as stat:
        return cpu_times(stat.readline())


def _own_seconds():
    """CPU time of this process and of its children that are gone."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF,
                                                resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


class Watch:
    """How much of the machine others took while something was measured."""

    def __init__(self):
        self.busy, self.stolen = _cpu_times_now()
        self.own = _own_seconds()

    def until_now(self, seconds, measured):
        """measured: CPU seconds of the processes that the run is about."""
        busy, stolen = _cpu_times_now()
        ours = measured + _own_seconds() - self.own
        whole = max(seconds * (os.cpu_count() or 1), 1e-9)
        return {"others": max(0.0, busy - self.busy - ours) / whole,
                "stolen": (stolen - self.stolen) / whole}


def complaints(use):
    """Why the figures of a run beside such a use are doubtful."""
    told = []
    if use["others"] > OTHERS_SHARE:
        told.append(f"other programs took {use['others']:.0%} of the machine")
    if use["stolen"] > STOLEN_SHARE:
        told.append(f"{use['stolen']:.0%} of the CPU time was taken by the "
                    "host of this virtual machine")
    return told
