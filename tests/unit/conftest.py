from hypothesis import HealthCheck, settings

# A slow or busy machine is no reason to fail: nothing here asserts time.
settings.register_profile("unit", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
