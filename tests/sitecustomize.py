"""Fix the meaning of the dtype `auto`, and leave out fsync, in every Python process that a test starts."""

from helpers.auto_dtype import fix_auto_dtype
from helpers.without_sync import leave_out_sync

fix_auto_dtype()
leave_out_sync()
