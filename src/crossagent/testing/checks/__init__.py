"""The rules that ``check_action_space``, ``check_environment``, ``check_sampler`` and ``check_plugin`` go through.

:mod:`grammar` and :mod:`space` have those of an action space, :mod:`environment`, :mod:`interfaces` and :mod:`tasks` those of
an environment, :mod:`sampler` those of a sampler; :mod:`plugin` runs them on what is installed.
"""
