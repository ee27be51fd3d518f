"""Fix the meaning of the dtype `auto` in every Python process that a test starts."""

from helpers.auto_dtype import fix_auto_dtype

fix_auto_dtype()
