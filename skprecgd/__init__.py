"""skprecgd."""
from .measurements import observed_entries
