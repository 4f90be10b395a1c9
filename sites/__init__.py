"""Network access to subclouds and the system controller: inspectors, probes, host keys, sysinv and USM."""
