"""Which search rank: growing it, judging it, and what scarce measurements need."""
