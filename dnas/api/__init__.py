"""What a program or a notebook calls: the functions of the commands, with values in place of options and files."""
