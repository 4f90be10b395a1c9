"""For Dramatiq's own command line: `dramatiq actors.dramatiq_entry -p 1 -t 8`.

Importing it builds a coordinator and worker from the PRESTAGER_* settings: that is what the command imports it for,
and nothing else may.
"""

from __future__ import annotations

from service.dramatiq_process import set_up

set_up()
