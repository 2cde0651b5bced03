from hypothesis import HealthCheck, settings

# A slow or busy machine is no reason to fail: nothing here asserts time. The strategies draw the edges often, so that
# the examples can be few, and all of tests/unit stays a matter of seconds.
settings.register_profile(
    "unit", settings(), max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unit")
