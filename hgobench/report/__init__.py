"""What people see: boards in several formats, and progress."""
