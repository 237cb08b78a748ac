"""How rows are kept: ports, rows, named statements, the engines, migrations."""
