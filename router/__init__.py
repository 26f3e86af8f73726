"""The first Apollo Federation v2 stack in pure Python: composer, planner and router.

Names are imported when they are first asked for, so that `router.planner` alone loads no HTTP client and no server.
"""
