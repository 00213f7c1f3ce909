"""The random numbers of base/random.h, from its description: FNV-1a, SplitMix64, draws without bias."""

MASK = 2**64 - 1


def mix64(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def derive_seed(seed, purpose, a=0, b=0):
    name = 0xCBF29CE484222325
    for byte in purpose.encode():
        name = (name ^ byte) * 0x100000001B3 & MASK
    state = 0
    for part in (seed, name, a, b):
        state = mix64((state ^ part) + 0x9E3779B97F4A7C15 & MASK)
    return state


def stream(seed, purpose, a=0):
    state = derive_seed(seed, purpose, a)
    while True:
        state = state + 0x9E3779B97F4A7C15 & MASK
        yield mix64(state)


def draw_with_replacement(count, seed, purpose, a=0):
    """As many of `count` rows."""
    draws, picked = stream(seed, purpose, a), []
    while len(picked) < count:
        if (draw := next(draws)) >= 2**64 % count:
            picked.append(draw % count)
    return picked
