"""Scripted experts: one plan per page, carried out at three levels."""
