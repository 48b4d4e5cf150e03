"""What needs several runs."""
