"""The server's resident memory over a long run, and the line that fits it."""

import time
from statistics import fmean, median

import servers

WARM_UP = 0.2  # of the run: buffers grow to their sizes
CLIENTS = 8


def fit_line(times, values):
    """(slope, value at time 0) of least squares."""
    middle_time, middle_value = fmean(times), fmean(values)
    spread = sum((t - middle_time) ** 2 for t in times)
    slope = sum((t - middle_time) * (value - middle_value) for t, value in zip(times, values, strict=True)) / spread if spread else 0.0
    return slope, middle_value - slope * middle_time


def describe_growth(points):
    """points: (seconds, bytes). The line is fitted to what follows the warm-up, and to each half of that, which tells a slope from its chance."""
    steady = [point for point in points if point[0] >= WARM_UP * points[-1][0]]
    half = len(steady) // 2
    slopes = [fit_line(*zip(*part, strict=True))[0] * 3600 for part in (steady, steady[:half], steady[half:]) if len(part) > 1]
    return {"slope_bytes_per_hour": slopes[0], "slopes_of_halves": slopes[1:], "first_bytes": points[0][1], "median_bytes": median(value for _, value in steady),
            "last_bytes": points[-1][1]}


def measure(workbench, requests, minutes):
    """Clients ask for all of `requests` again and again; memory is read once a second or more often."""
    seconds = 60 * minutes
    pause, points = min(1.0, seconds / 50), []
    with servers.serving(servers.METARM, workbench) as server:
        begin = time.monotonic()
        with servers.asking(workbench, server, requests, CLIENTS, seconds) as client:
            while client.poll() is None:
                points.append((time.monotonic() - begin, server.memory_bytes()))
                time.sleep(pause)
    return describe_growth(points) | {"minutes": minutes, "clients": CLIENTS, "points": points}


def to_line(found):
    halves = " and ".join(f"{slope / 1e6:.2f}" for slope in found["slopes_of_halves"])
    return (f"memory of {servers.METARM} over {found['minutes']:g} min: {found['first_bytes'] / 1e6:.0f} MB at first, {found['median_bytes'] / 1e6:.0f} MB later (median), "
            f"{found['last_bytes'] / 1e6:.0f} MB at last; the line grows by {found['slope_bytes_per_hour'] / 1e6:.2f} MB/h (halves: {halves})")
