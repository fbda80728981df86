"""How long a test waits for what must come: long enough for a machine that other work keeps busy.

It only bounds a hang. What has to be quick is tested on a clock that the test drives by hand.
"""

# Well below the time limit of a test in `./run test`, so that the waiting line is what fails.
HANG_S = 120.0
