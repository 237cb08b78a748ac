"""What must hold from one release to the next: both at work on one database, old rows, old histories."""
