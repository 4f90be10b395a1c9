"""Reads facts over REST: a site's sysinv, and the system controller's sysinv or USM, as StarlingX speaks."""
